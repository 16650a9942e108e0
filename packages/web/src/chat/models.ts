import type { ModelsResponse } from '@posthouse/contract/http'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { ApiError, api } from '../shared/api.ts'
import { notify } from '../shared/ui/toast.tsx'

const KEY = ['models']

/** The models that can answer, and the change of the one that does. */
export function useModels() {
  const { t } = useTranslation()
  const client = useQueryClient()
  const { data } = useQuery({ queryKey: KEY, queryFn: api.models })
  const choose = useMutation({
    mutationFn: api.chooseModel,
    onSuccess: (_, model) => client.setQueryData<ModelsResponse>(KEY, (before) => before && { ...before, current: model }),
    onError: (error) => {
      const code = error instanceof ApiError ? error.code : 'internal'
      notify({ id: 'model', text: t('model.failed', { reason: t(`error.${code}`) }), lasts: 8000 })
    },
  })
  return { models: data, choose: choose.mutate, choosing: choose.isPending }
}
