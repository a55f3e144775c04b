import type { DescField, DescMessage, MessageShape } from '@bufbuild/protobuf'

/**
 * Returns a message as the JSON that commands print: every field of its description under its JSON name, `null`
 * where it is absent. Numbers stay numbers, so that fields of 64 bits must not be in it.
 */
export function messageJson<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
): Record<string, unknown> {
  const values = message as Record<string, unknown>
  return Object.fromEntries(
    schema.fields.map((field) => [field.jsonName, fieldJson(field, values[field.localName])]),
  )
}

function fieldJson(field: DescField, value: unknown): unknown {
  if (value === undefined) return null
  if (field.message === undefined) return value
  const { message } = field
  const one = (element: unknown): unknown => messageJson(message, element as never)
  switch (field.fieldKind) {
    case 'message':
      return one(value)
    case 'list':
      return (value as unknown[]).map(one)
    case 'map': {
      const entries = Object.entries(value as Record<string, unknown>)
      return Object.fromEntries(entries.map(([key, element]) => [key, one(element)]))
    }
  }
}
