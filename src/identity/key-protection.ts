import { createCipheriv, createPrivateKey, pbkdf2, randomBytes, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { PosternError } from '../base/errors.ts'
import { element, oid, sequence } from './der-write.ts'
import { TAG } from './der.ts'
import { privatePem } from './keys.ts'
import { pemText } from './pem.ts'

const derive = promisify(pbkdf2)

/** PBKDF2 with HMAC-SHA-256: OWASP's count of 2023, where Node's own export takes 2048. */
const ITERATIONS = 600_000
const SALT_BYTES = 16
const BLOCK_BYTES = 16
const KEY_BYTES = 32
const LABEL = 'ENCRYPTED PRIVATE KEY'

const OID = {
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacSha256: '1.2.840.113549.2.9',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
}

/**
 * How private keys lie on disk: as they are, or under a passphrase. First keys and renewed ones go
 * through the same functions, so that none is ever written in clear beside an encrypted one.
 */
export class KeyProtection {
  readonly #passphrase: string | undefined

  /** Without a passphrase keys are written as they are. */
  constructor(passphrase?: string) {
    this.#passphrase = passphrase
  }

  get isOn(): boolean {
    return this.#passphrase !== undefined
  }

  /** PKCS#8 in PEM, for a file. */
  async seal(key: KeyObject): Promise<string> {
    return this.#passphrase === undefined
      ? privatePem(key)
      : pemText(LABEL, await encryptedKeyInfo(key, this.#passphrase))
  }

  /**
   * The key in a PEM text; one that is not encrypted is taken too, as from before there was a
   * passphrase. The causes are dropped: OpenSSL's words could quote the key.
   * @throws KEY_LOCKED, KEY_MISMATCH
   */
  open(pem: string, path: string): KeyObject {
    const isLocked = pem.includes(`BEGIN ${LABEL}`)
    if (isLocked && this.#passphrase === undefined) {
      const text = `${path} is encrypted: name its passphrase (identity.passphraseFile or identity.passphraseCommand; of a root --root-passphrase-file)`
      throw new PosternError('KEY_LOCKED', text, { path })
    }
    try {
      return createPrivateKey({ key: pem, ...(isLocked ? { passphrase: this.#passphrase } : {}) })
    } catch {
      // OpenSSL's words tell a wrong passphrase from a broken file by numbers only.
      if (isLocked)
        throw new PosternError('KEY_LOCKED', `${path}: the passphrase does not open it`, { path })
      throw new PosternError('KEY_MISMATCH', `${path} holds no private key in PEM`, { path })
    }
  }
}

/** EncryptedPrivateKeyInfo: PBES2 with PBKDF2 and AES-256-CBC (RFC 8018 sections 6.2 and A.4). */
export async function encryptedKeyInfo(key: KeyObject, passphrase: string): Promise<Buffer> {
  const salt = randomBytes(SALT_BYTES)
  const iv = randomBytes(BLOCK_BYTES)
  const secret = await derive(passphrase, salt, ITERATIONS, KEY_BYTES, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', secret, iv)
  const clear = key.export({ type: 'pkcs8', format: 'der' })
  const content = Buffer.concat([cipher.update(clear), cipher.final()])
  clear.fill(0)
  secret.fill(0)
  const iterations = Buffer.alloc(3)
  iterations.writeUIntBE(ITERATIONS, 0, 3)
  const derivation = sequence(
    oid(OID.pbkdf2),
    sequence(
      element(TAG.octetString, salt),
      element(TAG.integer, iterations),
      sequence(oid(OID.hmacSha256), element(TAG.null)),
    ),
  )
  const scheme = sequence(oid(OID.aes256Cbc), element(TAG.octetString, iv))
  return sequence(
    sequence(oid(OID.pbes2), sequence(derivation, scheme)),
    element(TAG.octetString, content),
  )
}
