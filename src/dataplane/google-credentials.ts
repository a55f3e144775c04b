import { createSign } from 'node:crypto'
import type { GoogleAuth, JWT } from 'google-auth-library'
import { PosternError } from '../base/errors.ts'
import { readSecretFile } from '../identity/key-files.ts'
import { askBackend } from '../transport/ask-backend.ts'
import { within } from '../transport/within.ts'

const OK = 200
const MS_MAX = 20_000
const EMAIL = /^[\w.@-]{3,254}$/

/** Where a text is signed for an account whose key is not here. */
export interface SignPlace {
  readonly endpoint: URL
  readonly caPem: string | undefined
}

/** Who an agent is to Google: the account of a file, a federation that a file describes, or what the platform gives. */
export class GoogleCredentials {
  readonly #auth: GoogleAuth
  /** Of an account with a key of its own. */
  readonly #own: JWT | undefined

  private constructor(auth: GoogleAuth, own: JWT | undefined) {
    this.#auth = auth
    this.#own = own
  }

  /** `keyFile`: of a service account or a federation. Default: what the platform gives. @throws CREDENTIALS_MISSING, FILE_UNREADABLE, KEY_EXPOSED */
  static async open(
    keyFile: string | undefined,
    scopes: readonly string[],
  ): Promise<GoogleCredentials> {
    const google = await import('google-auth-library')
    if (keyFile === undefined)
      return new GoogleCredentials(new google.GoogleAuth({ scopes: [...scopes] }), undefined)
    const file = readKeyFile(keyFile)
    const { client_email: email = '', private_key: key = '', credential_source: source } = file
    if (file.type === 'service_account') {
      const own = new google.JWT({ email, key, scopes: [...scopes], ...keyIdOf(file) })
      // A key vouches for itself (google.aip.dev/auth/4111): nobody else need be asked for a token.
      own.useJWTAccessWithScope = true
      return new GoogleCredentials(new google.GoogleAuth({ authClient: own }), own)
    }
    // What runs programs is not taken: none was named to the agent.
    if (file.type !== 'external_account' || source === undefined || 'executable' in source)
      throw new PosternError(
        'CREDENTIALS_MISSING',
        `${keyFile} is of no service account, and of no federation by a file, a URL or AWS`,
      )
    const options = { ...file, scopes: [...scopes] } as never
    const Client = 'environment_id' in source ? google.AwsClient : google.IdentityPoolClient
    const authClient = new Client(options)
    return new GoogleCredentials(new google.GoogleAuth({ authClient }), undefined)
  }

  /** The header by which a request to an API is authorised. @throws CREDENTIALS_MISSING */
  async bearer({ href }: URL, signal?: AbortSignal): Promise<string> {
    const found = await known(() => this.#auth.getRequestHeaders(href), signal)
    const header = found.get('authorization')
    if (header === null) throw new PosternError('CREDENTIALS_MISSING', 'no access token')
    return header
  }

  /** The e-mail address of the service account. @throws CREDENTIALS_MISSING */
  async account(): Promise<string> {
    const { client_email: found } =
      this.#own === undefined
        ? await known(() => this.#auth.getCredentials())
        : { client_email: this.#own.email }
    if (found !== undefined && EMAIL.test(found)) return found
    const text = 'the credentials are of no service account, which alone can sign'
    throw new PosternError('CREDENTIALS_MISSING', text)
  }

  /**
   * Signs a text (RSA with SHA-256), and returns the signature in base64: with the account's key where it is here, else by IAM's
   * signBlob. @throws CREDENTIALS_MISSING, BACKEND_UNREACHABLE, BACKEND_REFUSED
   */
  async sign(text: string, { endpoint, caPem }: SignPlace): Promise<string> {
    const key = this.#own?.key
    if (key !== undefined) return createSign('RSA-SHA256').update(text).sign(key, 'base64')
    const account = await this.account()
    const url = new URL(`/v1/projects/-/serviceAccounts/${account}:signBlob`, endpoint)
    const { status, body } = await askBackend({
      ...{ method: 'POST', url, caPem },
      headers: { authorization: await this.bearer(endpoint), 'content-type': 'application/json' },
      body: JSON.stringify({ payload: Buffer.from(text).toString('base64') }),
    })
    if (status === OK) return signatureIn(body)
    const isDenied = status === 401 || status === 403
    throw new PosternError(
      isDenied ? 'CREDENTIALS_MISSING' : 'BACKEND_REFUSED',
      `signBlob answers ${String(status)}`,
    )
  }
}

interface KeyFile {
  readonly type?: string
  readonly client_email?: string
  readonly private_key?: string
  readonly private_key_id?: string
  readonly credential_source?: object
}

function keyIdOf({ private_key_id: keyId }: KeyFile): { readonly keyId?: string } {
  return keyId === undefined ? {} : { keyId }
}

function readKeyFile(path: string): KeyFile {
  const text = readSecretFile(path)
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // Its own words would hold a part of the file.
  }
  throw new PosternError('FILE_UNREADABLE', `${path} holds no JSON object`, { path })
}

function signatureIn(body: Buffer): string {
  const found = /"signedBlob"\s*:\s*"([A-Za-z0-9+/=]+)"/.exec(body.toString('latin1'))?.[1]
  if (found !== undefined) return found
  throw new PosternError('BACKEND_REFUSED', 'signBlob has answered without a signature')
}

/** What it asks has no time of its own: nobody waits for it longer than this, or than their call. */
async function known<T>(ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const late = within(MS_MAX, signal)
  try {
    return await Promise.race([ask(), late])
  } catch (error) {
    const text = `no source of Google credentials has any (${(error as Error).name})`
    throw new PosternError('CREDENTIALS_MISSING', text, {}, { cause: error })
  }
}
