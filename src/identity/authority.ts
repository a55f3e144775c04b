import 'reflect-metadata'
import { createPublicKey, randomBytes, webcrypto, type KeyObject } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  type JsonGeneralName,
  type JsonName,
  type Name,
} from '@peculiar/x509'
import {
  cryptoKey,
  keyKindOf,
  makeKey,
  privatePem,
  signingAlgorithm,
  spkiPin,
  type KeyKind,
} from './keys.ts'
import { nameConstraints, type Subtrees } from './subtrees.ts'
import { readCertificate } from './validation/validation.ts'

/** The types of WebCrypto that @peculiar/x509 asks for are Node's own at run time. */
const provider = webcrypto
const SERIAL_BYTES = 16
/** Key identifiers are made anew for each certificate. */
const KEY_IDS = new Set(['2.5.29.14', '2.5.29.35'])

export { KeyUsageFlags }

/** The extended key usage of a TLS server (RFC 5280 section 4.2.1.12). */
export const USAGE_SERVER = '1.3.6.1.5.5.7.3.1'
/** The extended key usage of a TLS client (RFC 5280 section 4.2.1.12). */
export const USAGE_CLIENT = '1.3.6.1.5.5.7.3.2'

/** The time that a certificate is valid in. */
export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/** What an issuing CA is limited to. */
export interface IssuingLimits {
  /** Extended key usages that leaves under it may have. */
  readonly usage?: readonly string[]
  readonly names?: Subtrees
  readonly keyKind?: KeyKind
}

/** The names, usages and life of a certificate that is to be issued. */
export interface CertificateRequest extends Validity {
  /** For people only. */
  readonly commonName: string
  readonly uris: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly usage: readonly string[]
  readonly keyUsage?: KeyUsageFlags
  readonly isCa?: boolean
}

/** A certificate that is to be issued for a key made along with it. */
export interface LeafRequest extends CertificateRequest {
  readonly keyKind?: KeyKind
}

/** A certificate and its new key, in PEM. */
export interface IssuedLeaf {
  readonly certificatePem: string
  readonly keyPem: string
}

/** A certificate authority with its key in memory. */
export class Authority {
  readonly certificate: X509Certificate
  /** For the one file that keeps it; not enumerable, so that no log or JSON takes it along. */
  declare readonly key: KeyObject

  /** The key must belong to the certificate. */
  constructor(certificate: X509Certificate, key: KeyObject) {
    this.certificate = certificate
    Object.defineProperty(this, 'key', { value: key, enumerable: false })
  }

  /** From a certificate in DER that was judged, and its private key. */
  static of(der: Uint8Array<ArrayBuffer>, key: KeyObject): Authority {
    cryptoProvider.set(provider)
    return new Authority(new X509Certificate(der), key)
  }

  /** A certificate for a key by that key itself: it proves nothing but which key it is of. */
  static async selfSigned(key: KeyObject, commonName: string, validity: Validity): Promise<string> {
    const publicKey = createPublicKey(key)
    const extensions = [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    ]
    const issuer = nameOf(commonName)
    const names = { key, publicKey, issuer, subject: commonName, validity, extensions }
    return `${(await sign(names)).toString('pem')}\n`
  }

  get certificatePem(): string {
    return `${this.certificate.toString('pem')}\n`
  }

  get der(): Buffer {
    return Buffer.from(this.certificate.rawData)
  }

  /** Pin of its key. */
  get pin(): string {
    return spkiPin(new Uint8Array(this.certificate.publicKey.rawData))
  }

  /** Its own key identifier, in hex: what certificates under it name their issuer by. */
  get keyId(): string {
    return readCertificate(this.der).extensions.subjectKeyId ?? ''
  }

  /** A new self-signed root. */
  static async createRoot(
    commonName: string,
    validity: Validity,
    keyKind: KeyKind = 'p256',
  ): Promise<Authority> {
    const key = await makeKey(keyKind)
    const certificate = await sign({
      key,
      publicKey: createPublicKey(key),
      issuer: nameOf(commonName),
      subject: commonName,
      validity,
      extensions: caExtensions(1),
    })
    return new Authority(certificate, key)
  }

  /** A new issuing CA under this one; it may sign leaves only. */
  async createIssuing(
    commonName: string,
    validity: Validity,
    limits: IssuingLimits = {},
  ): Promise<Authority> {
    const key = await makeKey(limits.keyKind ?? 'p256')
    const extensions = caExtensions(0)
    if (limits.usage !== undefined)
      extensions.push(new ExtendedKeyUsageExtension([...limits.usage], false))
    if (limits.names !== undefined)
      extensions.push(new Extension('2.5.29.30', true, nameConstraints(limits.names)))
    const certificate = await this.#sign(createPublicKey(key), commonName, validity, extensions)
    return new Authority(certificate, key)
  }

  /** A new issuing CA under this one with the limits of another, its predecessor. */
  async createSuccessor(
    other: Authority,
    commonName: string,
    validity: Validity,
  ): Promise<Authority> {
    const key = await makeKey(keyKindOf(other.key))
    const publicKey = createPublicKey(key)
    const certificate = await this.#sign(publicKey, commonName, validity, limitsOf(other))
    return new Authority(certificate, key)
  }

  /**
   * The certificate of another issuing CA under this one: the same name, key and limits. Who trusts
   * only this one can then verify what the other has issued.
   */
  async certify(other: Authority): Promise<X509Certificate> {
    const { notBefore, notAfter, subjectName } = other.certificate
    const publicKey = createPublicKey(other.key)
    return await this.#sign(publicKey, subjectName, { notBefore, notAfter }, limitsOf(other))
  }

  /** A new key and its leaf. */
  async issueLeaf(request: LeafRequest): Promise<IssuedLeaf> {
    const key = await makeKey(request.keyKind ?? 'p256')
    const certificate = await this.issue(createPublicKey(key), request)
    return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: privatePem(key) }
  }

  /** A leaf for a key of somebody else. */
  async issue(publicKey: KeyObject, request: CertificateRequest): Promise<X509Certificate> {
    const names: JsonGeneralName[] = [
      ...request.uris.map((value) => ({ type: 'url' as const, value })),
      ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
      ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ]
    const extensions: Extension[] = [
      new BasicConstraintsExtension(request.isCa ?? false, undefined, true),
      new KeyUsagesExtension(request.keyUsage ?? KeyUsageFlags.digitalSignature, true),
    ]
    if (request.usage.length > 0)
      extensions.push(new ExtendedKeyUsageExtension([...request.usage], false))
    if (names.length > 0) extensions.push(new SubjectAlternativeNameExtension(names, false))
    return await this.#sign(publicKey, request.commonName, request, extensions)
  }

  async #sign(
    publicKey: KeyObject,
    subject: string | Name,
    { notBefore, notAfter }: Validity,
    extensions: Extension[],
  ): Promise<X509Certificate> {
    // A leaf never outlives its issuer.
    const end = Math.min(notAfter.getTime(), this.certificate.notAfter.getTime())
    const validity = { notBefore, notAfter: new Date(end) }
    const { subjectName: issuer } = this.certificate
    return await sign({ key: this.key, publicKey, issuer, subject, validity, extensions })
  }
}

interface Signing {
  readonly key: KeyObject
  readonly publicKey: KeyObject
  readonly issuer: JsonName | Name
  /** Common name, or a whole name. */
  readonly subject: string | Name
  readonly validity: Validity
  readonly extensions: readonly Extension[]
}

async function sign(what: Signing): Promise<X509Certificate> {
  cryptoProvider.set(provider)
  const { key, publicKey, issuer, subject, validity, extensions } = what
  const subjectKey = cryptoKey(publicKey)
  return await X509CertificateGenerator.create(
    {
      serialNumber: serial(),
      subject: typeof subject === 'string' ? nameOf(subject) : subject,
      issuer,
      ...validity,
      signingAlgorithm: signingAlgorithm(key),
      publicKey: subjectKey,
      signingKey: cryptoKey(key),
      extensions: [
        ...extensions,
        await SubjectKeyIdentifierExtension.create(subjectKey, false, provider),
        await AuthorityKeyIdentifierExtension.create(
          cryptoKey(createPublicKey(key)),
          false,
          provider,
        ),
      ],
    },
    provider,
  )
}

function limitsOf({ certificate }: Authority): Extension[] {
  return certificate.extensions.filter(({ type }) => !KEY_IDS.has(type))
}

/** As JSON, so that no character of a name can end it and start another. */
function nameOf(commonName: string): JsonName {
  return [{ CN: [commonName] }]
}

function caExtensions(pathLength: number): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}

/** 128 bits, positive. */
function serial(): string {
  const bytes = randomBytes(SERIAL_BYTES)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}
