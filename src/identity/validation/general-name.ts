import { context, DerReader, TAG } from '../der.ts'
import { readName, type DistinguishedName } from './distinguished-name.ts'

/** A GeneralName (RFC 5280 section 4.2.1.6). Kinds that we cannot judge are `other`. */
export type GeneralName =
  | { readonly kind: 'dns' | 'email' | 'uri'; readonly value: string }
  | { readonly kind: 'ip'; readonly value: Buffer }
  | { readonly kind: 'directory'; readonly value: DistinguishedName }
  | { readonly kind: 'other'; readonly value: number }

/** The kind of a GeneralName. */
export type NameKind = GeneralName['kind']

const TAGS = {
  email: context(1, false),
  dns: context(2, false),
  directory: context(4, true),
  uri: context(6, false),
  ip: context(7, false),
} as const
const CLASS_BITS = 0xc0
const CONTEXT_CLASS = 0x80
const LAST_NUMBER = 8
const PRINTABLE_ASCII = /^[\x21-\x7e]*$/

/** The next element as a general name. */
export function readGeneralName(reader: DerReader): GeneralName {
  const { tag, content } = reader.next()
  switch (tag) {
    case TAGS.email:
      return { kind: 'email', value: asciiText(content) }
    case TAGS.dns:
      return { kind: 'dns', value: asciiText(content) }
    case TAGS.uri:
      return { kind: 'uri', value: asciiText(content) }
    case TAGS.ip:
      return { kind: 'ip', value: content }
    case TAGS.directory:
      return { kind: 'directory', value: readName(content) }
    default:
      if ((tag & CLASS_BITS) !== CONTEXT_CLASS || (tag & 0x1f) > LAST_NUMBER)
        throw new Error('a name is of no known kind')
      return { kind: 'other', value: tag & 0x1f }
  }
}

/** Reads a sequence of GeneralName (RFC 5280 section 4.2.1.6). */
export function readGeneralNames(value: Buffer): GeneralName[] {
  const reader = new DerReader(value)
  const inner = reader.enter(TAG.sequence)
  reader.end()
  const names: GeneralName[] = []
  while (!inner.isDone) names.push(readGeneralName(inner))
  return names
}

function asciiText(content: Buffer): string {
  const text = content.toString('latin1')
  if (!PRINTABLE_ASCII.test(text)) throw new Error('a name holds more than printable ASCII')
  return text
}
