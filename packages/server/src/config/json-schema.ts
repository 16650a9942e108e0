/** The JSON Schema of `posthouse.yaml`, for editors: made from the same data that checks the file. */
import type { Field, Schema } from '@posthouse/contract'
import { accountFields, endpointFields, rootFields } from './fields.ts'
import type { Catalog } from './load.ts'
import { mcpFields } from './mcp.ts'
import { formatUnit } from './validate.ts'

type JsonSchema = Record<string, unknown>

/** Builds the schema for the channels and providers that are there. */
export function jsonSchema({ channels, providers }: Catalog): JsonSchema {
  const root = object(rootFields, [])
  const properties = root.properties as Record<string, JsonSchema>
  properties.channels = {
    description: rootFields.channels?.description.en,
    type: 'object',
    additionalProperties: { anyOf: Object.values(channels).map((channel) => variant(channel.id, 'type', accountFields, channel.settings)) },
  }
  properties.mcp = { description: rootFields.mcp?.description.en, type: 'object', additionalProperties: object(mcpFields, []) }
  const models = properties.models as { properties: Record<string, JsonSchema> }
  models.properties.endpoints = {
    description: 'Endpoints by name.',
    type: 'object',
    additionalProperties: {
      anyOf: Object.values(providers).map((provider) => variant(provider.id, 'api', endpointFields, provider.settings)),
    },
  }
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'posthouse.yaml', ...root }
}

/** Settings of one channel or provider. */
function variant(
  id: string,
  key: string,
  shared: Readonly<Record<string, Field>>,
  { fields, required }: Schema<Record<string, unknown>>,
): JsonSchema {
  const schema = object({ ...shared, ...fields }, required)
  // The form that names nothing is Telegram's only under the key `telegram`, which a schema of values cannot see: both are let through.
  ;(schema.properties as Record<string, JsonSchema>)[key] = { const: id }
  return key === 'api' ? { ...schema, required: ['api', ...required] } : schema
}

function object(fields: Readonly<Record<string, Field>>, required: readonly string[]): JsonSchema {
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, property(field)])),
    ...(required.length > 0 ? { required } : {}),
  }
}

/** A reference stands for any value: `port: ${env:PORT}`. */
const REFERENCE = { type: 'string', pattern: '^\\$\\{(env|file):[^}]+\\}$' }
const UNITS = { duration: '(ms|s|m|h|d)', size: '(B|KB|MB|GB|b|kb|mb|gb)' }

function property(field: Field): JsonSchema {
  if (field.format === 'duration' || field.format === 'size') {
    const { default: initial } = field
    const unit = { type: 'string', pattern: `^[0-9]+(\\.[0-9]+)? *${UNITS[field.format]}$` }
    const shownDefault = typeof initial === 'number' ? formatUnit(initial, field.format) : initial
    return {
      description: describe(field),
      ...(initial === undefined ? {} : { default: shownDefault }),
      anyOf: [unit, { const: 0 }, REFERENCE],
    }
  }

  const shared: JsonSchema = {
    description: describe(field),
    ...(field.default === undefined ? {} : { default: field.default }),
    ...(field.enum ? { enum: field.enum } : {}),
    ...(field.minimum === undefined ? {} : { minimum: field.minimum }),
    ...(field.maximum === undefined ? {} : { maximum: field.maximum }),
    ...(field.pattern ? { pattern: field.pattern } : {}),
    ...(field.examples ? { examples: field.examples } : {}),
  }
  if (field.type === 'any') return shared
  if (field.type === 'object') return { ...shared, ...(field.fields ? object(field.fields, field.required ?? []) : { type: 'object' }) }
  if (field.type === 'array')
    return {
      ...shared,
      type: 'array',
      items: field.items?.type === 'id' ? { type: ['string', 'integer'] } : { type: field.items?.type ?? 'string' },
    }
  if (field.type === 'string') {
    // Secrets and ids are often written without quotes; a reference fits every form.
    if (!field.enum && !field.pattern) return { ...shared, type: ['string', 'number'] }
    const { description, default: initial, examples, ...limits } = shared
    return {
      description,
      ...(initial === undefined ? {} : { default: initial }),
      ...(examples === undefined ? {} : { examples }),
      anyOf: [{ type: ['string', 'number'], ...limits }, REFERENCE],
    }
  }
  const { minimum, maximum, ...said } = shared
  const limits = { ...(minimum === undefined ? {} : { minimum }), ...(maximum === undefined ? {} : { maximum }) }
  return { ...said, anyOf: [{ type: field.type, ...limits }, REFERENCE] }
}

const describe = ({ description: { en, zh } }: Field): string => `${en}\n${zh}`
