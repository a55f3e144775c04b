import {
  booleanOf,
  context,
  countOf,
  DerReader,
  namedBits,
  oidText,
  readOne,
  TAG,
  type Tlv,
} from '../der.ts'
import { readGeneralName, readGeneralNames, type GeneralName } from './general-name.ts'

/** The extensions of a certificate (RFC 5280 section 4.2), as far as they decide anything. */
export interface Extensions {
  /** Object identifiers of all that stand there, to whether they are critical. */
  readonly critical: ReadonlyMap<string, boolean>
  readonly basicConstraints:
    { readonly isCa: boolean; readonly pathLength: number | undefined } | undefined
  /** Named bits, `KEY_USAGE`. */
  readonly keyUsage: number | undefined
  readonly extendedKeyUsage: readonly string[] | undefined
  readonly names: readonly GeneralName[] | undefined
  /** Hex. */
  readonly subjectKeyId: string | undefined
  /** The issuer's key in hex, and whether issuer and serial stand there too. */
  readonly authorityKeyId:
    { readonly keyId: string | undefined; readonly namesIssuer: boolean } | undefined
  readonly nameConstraints: NameConstraints | undefined
  /** Rules already broken in reading, in words. */
  readonly broken: readonly string[]
}

/** The subtrees that a CA permits and excludes (RFC 5280 section 4.2.1.10). */
export interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

/** The object identifiers of the extensions that we know. */
export const OID = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  names: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  policies: '2.5.29.32',
  policyConstraints: '2.5.29.36',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
} as const

/** The bits of keyUsage (RFC 5280 section 4.2.1.3). */
export const KEY_USAGE = {
  digitalSignature: 1 << 0,
  keyEncipherment: 1 << 2,
  keyAgreement: 1 << 4,
  keyCertSign: 1 << 5,
  cRLSign: 1 << 6,
} as const

const EXTENSIONS_MAX = 64

type Mutable = { -readonly [K in keyof Extensions]: Extensions[K] }

const READERS: ReadonlyMap<string, (value: Buffer, into: Mutable) => void> = new Map([
  [OID.basicConstraints, readBasicConstraints],
  [
    OID.keyUsage,
    (value, into) => {
      into.keyUsage = namedBits(readOne(value, TAG.bitString).content)
    },
  ],
  [
    OID.extendedKeyUsage,
    (value, into) => {
      const usages = new DerReader(readOne(value, TAG.sequence).content).rest(TAG.oid)
      into.extendedKeyUsage = usages.map(({ content }) => oidText(content))
    },
  ],
  [
    OID.names,
    (value, into) => {
      into.names = readGeneralNames(value)
    },
  ],
  [
    OID.subjectKeyId,
    (value, into) => {
      into.subjectKeyId = readOne(value, TAG.octetString).content.toString('hex')
    },
  ],
  [OID.authorityKeyId, readAuthorityKeyId],
  [OID.nameConstraints, readNameConstraints],
  [
    OID.authorityInfoAccess,
    (value) => {
      readOne(value, TAG.sequence)
    },
  ],
])

/** Tells whether we judge an extension, by its object identifier, so that it may be critical. */
export function isUnderstood(oid: string): boolean {
  return READERS.has(oid) || oid === OID.policies
}

/** Reads the [3] element of a certificate; one that cannot be decoded is a broken rule. */
export function readExtensions(element: Tlv | undefined): Extensions {
  const critical = new Map<string, boolean>()
  const broken: string[] = []
  const into: Mutable = {
    critical,
    broken,
    basicConstraints: undefined,
    keyUsage: undefined,
    extendedKeyUsage: undefined,
    names: undefined,
    subjectKeyId: undefined,
    authorityKeyId: undefined,
    nameConstraints: undefined,
  }
  if (element === undefined) return into
  const list = new DerReader(readOne(element.content, TAG.sequence).content).rest(TAG.sequence)
  if (list.length > EXTENSIONS_MAX) throw new Error('there are more than 64 extensions')
  for (const { content } of list) {
    const reader = new DerReader(content)
    const oid = oidText(reader.next(TAG.oid).content)
    const flag = reader.optional(TAG.boolean)
    const value = reader.next(TAG.octetString).content
    reader.end()
    if (critical.has(oid)) broken.push(`extension ${oid} stands twice`)
    critical.set(oid, flag !== undefined && booleanOf(flag.content))
    try {
      READERS.get(oid)?.(value, into)
    } catch (error) {
      broken.push(`extension ${oid} cannot be decoded: ${(error as Error).message}`)
    }
  }
  return into
}

function readBasicConstraints(value: Buffer, into: Mutable): void {
  const reader = new DerReader(readOne(value, TAG.sequence).content)
  const flag = reader.optional(TAG.boolean)
  const length = reader.optional(TAG.integer)
  reader.end()
  into.basicConstraints = {
    isCa: flag !== undefined && booleanOf(flag.content),
    pathLength: length === undefined ? undefined : countOf(length.content),
  }
}

function readAuthorityKeyId(value: Buffer, into: Mutable): void {
  const reader = new DerReader(readOne(value, TAG.sequence).content)
  const id = reader.optional(context(0, false))
  const issuer = reader.optional(context(1, true))
  const serial = reader.optional(context(2, false))
  reader.end()
  into.authorityKeyId = {
    keyId: id?.content.toString('hex'),
    namesIssuer: issuer !== undefined || serial !== undefined,
  }
}

function readNameConstraints(value: Buffer, into: Mutable): void {
  const reader = new DerReader(readOne(value, TAG.sequence).content)
  const permitted = reader.optional(context(0, true))
  const excluded = reader.optional(context(1, true))
  reader.end()
  const subtrees = (element: Tlv | undefined): GeneralName[] => {
    if (element === undefined) return []
    const bases = new DerReader(element.content).rest(TAG.sequence).map(({ content }) => {
      const subtree = new DerReader(content)
      const base = readGeneralName(subtree)
      // RFC 5280 section 4.2.1.10: minimum is zero and maximum absent.
      subtree.end()
      return base
    })
    if (bases.length === 0) throw new Error('a list of subtrees is empty')
    return bases
  }
  into.nameConstraints = { permitted: subtrees(permitted), excluded: subtrees(excluded) }
  if (permitted === undefined && excluded === undefined)
    throw new Error('there is neither a permitted nor an excluded subtree')
}
