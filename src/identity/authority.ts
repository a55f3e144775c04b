import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  type Extension,
  type JsonGeneralName,
  type X509Certificate,
} from '@peculiar/x509'

/** The types of WebCrypto that @peculiar/x509 asks for are Node's own at run time. */
const provider = webcrypto
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const SERIAL_BYTES = 16

export { KeyUsageFlags }

export const USAGE_SERVER = '1.3.6.1.5.5.7.3.1'
export const USAGE_CLIENT = '1.3.6.1.5.5.7.3.2'

export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface LeafRequest extends Validity {
  /** For people only. */
  readonly commonName: string
  readonly uris: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly usage: readonly string[]
  readonly keyUsage?: KeyUsageFlags
  readonly isCa?: boolean
}

export interface IssuedLeaf {
  readonly certificatePem: string
  readonly keyPem: string
}

/** A certificate authority with its key in memory. */
export class Authority {
  readonly certificate: X509Certificate
  readonly #keys: webcrypto.CryptoKeyPair

  private constructor(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.certificate = certificate
    this.#keys = keys
  }

  get certificatePem(): string {
    return this.certificate.toString('pem')
  }

  /** A new self-signed root. */
  static async createRoot(commonName: string, validity: Validity): Promise<Authority> {
    const keys = await generateKeys()
    const extensions = [
      ...caExtensions(1),
      await SubjectKeyIdentifierExtension.create(keys.publicKey, false, provider),
    ]
    const certificate = await X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: serial(),
        name: `CN=${commonName}`,
        ...validity,
        signingAlgorithm: P256,
        keys,
        extensions,
      },
      provider,
    )
    return new Authority(certificate, keys)
  }

  /** A new issuing CA under this one; it may sign leaves only. */
  async createIssuing(commonName: string, validity: Validity): Promise<Authority> {
    const keys = await generateKeys()
    const certificate = await this.#sign(keys.publicKey, commonName, validity, caExtensions(0))
    return new Authority(certificate, keys)
  }

  /** A new key and its leaf. */
  async issueLeaf(request: LeafRequest): Promise<IssuedLeaf> {
    const keys = await generateKeys()
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
    const certificate = await this.#sign(keys.publicKey, request.commonName, request, extensions)
    const pkcs8 = Buffer.from(await provider.subtle.exportKey('pkcs8', keys.privateKey))
    return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: pem('PRIVATE KEY', pkcs8) }
  }

  async #sign(
    publicKey: CryptoKey,
    commonName: string,
    { notBefore, notAfter }: Validity,
    extensions: Extension[],
  ): Promise<X509Certificate> {
    return await X509CertificateGenerator.create(
      {
        serialNumber: serial(),
        subject: `CN=${commonName}`,
        issuer: this.certificate.subject,
        notBefore,
        notAfter,
        signingAlgorithm: P256,
        publicKey,
        signingKey: this.#keys.privateKey,
        extensions: [
          ...extensions,
          await SubjectKeyIdentifierExtension.create(publicKey, false, provider),
          await AuthorityKeyIdentifierExtension.create(this.#keys.publicKey, false, provider),
        ],
      },
      provider,
    )
  }
}

function caExtensions(pathLength: number): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  cryptoProvider.set(provider)
  return await provider.subtle.generateKey(P256, true, ['sign', 'verify'])
}

/** 128 bits, positive. */
function serial(): string {
  const bytes = randomBytes(SERIAL_BYTES)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
