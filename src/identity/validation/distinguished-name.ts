import { DerReader, oidText, readOne, TAG } from '../der.ts'

/** One attribute in canonical form: "oid=text", or the hex of what is no text. */
export type Rdn = string

/** A name of X.501: a form for comparison, and one for people. */
export interface DistinguishedName {
  /** Each relative name as one string, in order. Equal names have equal strings. */
  readonly rdns: readonly Rdn[]
  /** All of them joined, to compare at once. */
  readonly key: string
  readonly emails: readonly string[]
}

const OID_EMAIL = '1.2.840.113549.1.9.1'

/** Reads a Name, so that names compare as RFC 5280 section 7.1 says: case and runs of space fold. */
export function readName(raw: Buffer): DistinguishedName {
  const emails: string[] = []
  const rdns = new DerReader(readOne(raw, TAG.sequence).content).rest(TAG.set).map((set) => {
    const attributes = new DerReader(set.content).rest(TAG.sequence).map(({ content }) => {
      const reader = new DerReader(content)
      const oid = oidText(reader.next(TAG.oid).content)
      const value = reader.next()
      reader.end()
      const text = directoryText(value.tag, value.content)
      if (oid === OID_EMAIL && text !== undefined) emails.push(text)
      return `${oid}=${text === undefined ? `#${value.raw.toString('hex')}` : folded(text)}`
    })
    if (attributes.length === 0) throw new Error('a relative name is empty')
    return JSON.stringify(attributes.sort())
  })
  return { rdns, key: rdns.join(), emails }
}

function directoryText(tag: number, content: Buffer): string | undefined {
  switch (tag) {
    case TAG.utf8String:
    case TAG.printableString:
    case TAG.ia5String:
      return content.toString('utf8')
    case TAG.teletexString:
      return content.toString('latin1')
    case TAG.bmpString:
      if (content.length % 2 === 1) throw new Error('a name has half a character')
      return Buffer.from(content).swap16().toString('utf16le')
    default:
      return undefined
  }
}

function folded(text: string): string {
  return text.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase()
}

/** Whether `name` lies in the subtree of `base`: starts with all of its relative names. */
export function isWithin(name: DistinguishedName, base: DistinguishedName): boolean {
  return base.rdns.every((rdn, i) => name.rdns[i] === rdn)
}
