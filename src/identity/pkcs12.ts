import { createHash, createPrivateKey, webcrypto } from 'node:crypto'
import { BmpString, fromBER, OctetString } from 'asn1js'
import {
  Attribute,
  AuthenticatedSafe,
  CertBag,
  Certificate,
  CryptoEngine,
  PFX,
  PKCS8ShroudedKeyBag,
  SafeBag,
  SafeContents,
} from 'pkijs'
import { encryptedKeyInfo } from './key-protection.ts'

const BAG = {
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  certificate: '1.2.840.113549.1.12.10.1.3',
}
const FRIENDLY_NAME = '1.2.840.113549.1.9.20'
const LOCAL_KEY_ID = '1.2.840.113549.1.9.21'
const CERTIFICATES = { encrypted: 1, hash: 'SHA-256' } as const
/** Of the MAC, whose password is guessed as easily as that of the key. */
const ITERATIONS = 100_000

type Engine = NonNullable<Parameters<PFX['makeInternalValues']>[1]>

/** The key and certificates that go into a PKCS#12 file. */
export interface Pkcs12Content {
  readonly keyPem: string
  /** DER, leaf first, then intermediates and roots. */
  readonly chain: readonly Buffer[]
  readonly friendlyName: string
}

/**
 * A PKCS#12 file (RFC 7292) with one key and its chain: AES-256 under PBES2 and an HMAC of SHA-256,
 * which OpenSSL from 1.1 and Java from 8u301 read.
 */
export async function exportPkcs12(
  { keyPem, chain, friendlyName }: Pkcs12Content,
  passphrase: string,
): Promise<Buffer> {
  // The newest types of the DOM have post-quantum methods that pkijs does not implement yet.
  const engine = new CryptoEngine({ name: 'node', crypto: webcrypto }) as unknown as Engine
  const password = arrayBuffer(Buffer.from(passphrase))
  const keyId = createHash('sha1')
    .update(chain[0] ?? Buffer.alloc(0))
    .digest()
  const attributes = [
    attribute(FRIENDLY_NAME, new BmpString({ value: friendlyName })),
    attribute(LOCAL_KEY_ID, new OctetString({ valueHex: arrayBuffer(keyId) })),
  ]
  const keyBag = new PKCS8ShroudedKeyBag({
    schema: parsed(await encryptedKeyInfo(createPrivateKey(keyPem), passphrase)),
  })
  const keys = new SafeContents({
    safeBags: [
      new SafeBag({ bagId: BAG.shroudedKey, bagValue: keyBag, bagAttributes: attributes }),
    ],
  })
  const certificates = new SafeContents({
    safeBags: chain.map((der, index) => {
      const bagValue = new CertBag({ parsedValue: new Certificate({ schema: parsed(der) }) })
      return new SafeBag({
        bagId: BAG.certificate,
        bagValue,
        ...(index === 0 ? { bagAttributes: attributes } : {}),
      })
    }),
  })
  const pfx = new PFX({
    parsedValue: {
      integrityMode: 0,
      authenticatedSafe: new AuthenticatedSafe({
        parsedValue: {
          safeContents: [
            { privacyMode: 0, value: keys },
            { privacyMode: CERTIFICATES.encrypted, value: certificates },
          ],
        },
      }),
    },
  })
  const safe = pfx.parsedValue?.authenticatedSafe
  const certificateEncryption = {
    password,
    contentEncryptionAlgorithm: { name: 'AES-CBC', length: 256 },
    hmacHashAlgorithm: CERTIFICATES.hash,
    iterationCount: ITERATIONS,
  }
  await safe?.makeInternalValues({ safeContents: [{}, certificateEncryption] }, engine)
  await pfx.makeInternalValues(
    {
      password,
      iterations: ITERATIONS,
      pbkdf2HashAlgorithm: CERTIFICATES.hash,
      hmacHashAlgorithm: CERTIFICATES.hash,
    },
    engine,
  )
  return Buffer.from(pfx.toSchema().toBER(false))
}

function attribute(type: string, value: BmpString | OctetString): Attribute {
  return new Attribute({ type, values: [value] })
}

function parsed(der: Buffer) {
  return fromBER(arrayBuffer(der)).result
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}
