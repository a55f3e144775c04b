import type { DescField, DescMessage, Message } from '@bufbuild/protobuf'
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect'

/** A number, a comma, quotes and brackets, at most. */
const VALUE_BYTES = 32
/** What base64 and escapes make of one byte, at most. */
const TEXT_FACTOR = 6

/** Returns how many bytes the JSON of a message may have, or Infinity as soon as they are over a bound: a byte may stand for a long name. */
export function jsonSize(schema: DescMessage, message: Message, bytesMax: number): number {
  const left = { bytes: bytesMax }
  measure(reflect(schema, message), left)
  return left.bytes < 0 ? Infinity : bytesMax - left.bytes
}

function measure(message: ReflectMessage, left: { bytes: number }): void {
  left.bytes -= VALUE_BYTES
  for (const field of message.sortedFields) {
    if (left.bytes < 0) return
    if (!message.isSet(field)) continue
    left.bytes -= field.jsonName.length + VALUE_BYTES
    switch (field.fieldKind) {
      case 'list':
        for (const item of message.get(field)) {
          measureValue(item, field, left)
          if (left.bytes < 0) return
        }
        break
      case 'map':
        for (const [key, value] of message.get(field)) {
          measureValue(key, undefined, left)
          measureValue(value, field, left)
          if (left.bytes < 0) return
        }
        break
      default:
        measureValue(message.get(field), field, left)
    }
  }
}

function measureValue(value: unknown, field: DescField | undefined, left: { bytes: number }): void {
  if (typeof value === 'object' && value !== null && 'desc' in value)
    measure(value as ReflectMessage, left)
  else if (typeof value === 'string' || value instanceof Uint8Array)
    left.bytes -= value.length * TEXT_FACTOR + VALUE_BYTES
  else if (typeof value === 'number' && field?.enum !== undefined)
    left.bytes -= (field.enum.value[value]?.name.length ?? 0) + VALUE_BYTES
  else left.bytes -= VALUE_BYTES
}
