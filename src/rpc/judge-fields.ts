import type { DescMessage, Message } from '@bufbuild/protobuf'
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect'
import type { FieldRules } from '../contract/call-guard.ts'
import { rpcErrorOfCode } from './status.ts'

/**
 * Judges the fields of a message that may hold metadata alone, those within it too.
 * @throws RpcError MALFORMED_CALL for fields that its description lacks, MESSAGE_TOO_LARGE for a text or bytes field over the bound
 */
export function judgeFields(schema: DescMessage, message: Message, rules: FieldRules): void {
  judge(reflect(schema, message), rules)
}

function judge(message: ReflectMessage, rules: FieldRules): void {
  if (rules.unknown === 'refuse' && (message.getUnknown()?.length ?? 0) > 0) {
    const text = `${message.desc.typeName} has fields that this side does not know, and the policy refuses such`
    throw rpcErrorOfCode('MALFORMED_CALL', text)
  }
  for (const field of message.fields) {
    if (!message.isSet(field)) continue
    const judgeOne = (value: unknown): void => {
      judgeValue(value, field.name, rules)
    }
    switch (field.fieldKind) {
      case 'list':
        for (const item of message.get(field)) judgeOne(item)
        break
      case 'map':
        for (const [key, value] of message.get(field)) {
          judgeOne(key)
          judgeOne(value)
        }
        break
      default:
        judgeOne(message.get(field))
    }
  }
}

function judgeValue(value: unknown, name: string, rules: FieldRules): void {
  if (typeof value === 'object' && value !== null && 'desc' in value)
    judge(value as ReflectMessage, rules)
  else if (typeof value === 'string' || value instanceof Uint8Array) {
    const bytes = typeof value === 'string' ? Buffer.byteLength(value) : value.length
    if (bytes > rules.bytesMax) {
      const text = `the field ${name} has over ${String(rules.bytesMax)} bytes`
      throw rpcErrorOfCode('MESSAGE_TOO_LARGE', text)
    }
  }
}
