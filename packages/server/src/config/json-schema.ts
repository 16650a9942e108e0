/** The JSON Schema of `posthouse.yaml`, for editors: made from the same data that checks the file. */
import type { Field, Schema } from '@posthouse/contract'
import { accountFields, endpointFields, rootFields } from './fields.ts'
import type { Catalog } from './load.ts'

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

function variant(
  id: string,
  key: string,
  shared: Readonly<Record<string, Field>>,
  { fields, required }: Schema<Record<string, unknown>>,
): JsonSchema {
  const schema = object({ ...shared, ...fields }, required)
  ;(schema.properties as Record<string, JsonSchema>)[key] = { const: id }
  return schema
}

function object(fields: Readonly<Record<string, Field>>, required: readonly string[]): JsonSchema {
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, property(field)])),
    ...(required.length > 0 ? { required } : {}),
  }
}

function property(field: Field): JsonSchema {
  const shared: JsonSchema = {
    description: `${field.description.en}\n${field.description.zh}`,
    ...(field.default === undefined ? {} : { default: field.default }),
    ...(field.enum ? { enum: field.enum } : {}),
    ...(field.minimum === undefined ? {} : { minimum: field.minimum }),
    ...(field.maximum === undefined ? {} : { maximum: field.maximum }),
    ...(field.pattern ? { pattern: field.pattern } : {}),
    ...(field.examples ? { examples: field.examples } : {}),
  }
  if (field.type === 'object') return { ...shared, ...(field.fields ? object(field.fields, field.required ?? []) : { type: 'object' }) }
  if (field.type === 'array')
    return {
      ...shared,
      type: 'array',
      items: field.items?.type === 'id' ? { type: ['string', 'integer'] } : { type: field.items?.type ?? 'string' },
    }
  // Secrets and ids are often written without quotes.
  return { ...shared, type: field.type === 'string' ? ['string', 'number'] : field.type }
}
