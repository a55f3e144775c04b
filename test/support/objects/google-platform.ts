import { createSign, type KeyObject } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'
import { StandIn, type Answered, type Asked } from '../secrets/stand-ins.ts'

/** IAM's service account credentials API (cloud.google.com/iam/docs/reference/credentials/rest), which signs for one account. */
export class IamStandIn extends StandIn {
  readonly #account: { readonly email: string; readonly key: KeyObject }
  token: string

  constructor(
    files: KeyFilePaths,
    account: { readonly email: string; readonly key: KeyObject },
    token: string,
  ) {
    super(files)
    this.#account = account
    this.token = token
  }

  protected override answer({ method, url, headers, text }: Asked): Answered {
    const { email, key } = this.#account
    if (headers.authorization !== `Bearer ${this.token}`) return { status: 403 }
    if (method !== 'POST' || url.pathname !== `/v1/projects/-/serviceAccounts/${email}:signBlob`)
      return { status: 404 }
    const { payload } = JSON.parse(text) as { payload: string }
    const signedBlob = createSign('sha256')
      .update(Buffer.from(payload, 'base64'))
      .sign(key, 'base64')
    return { status: 200, body: { keyId: 'k', signedBlob } }
  }
}

/** What a platform of Google's gives its workloads: the metadata server, and the exchange of a federated token for one of an account. */
export class GooglePlatform {
  readonly requests: string[] = []
  readonly #server: Server
  readonly #email: string
  readonly #token: string

  constructor(email: string, token: string) {
    this.#email = email
    this.#token = token
    this.#server = createServer((request, response) => {
      const path = (request.url ?? '').split('?')[0] ?? ''
      this.requests.push(`${request.method ?? ''} ${path}`)
      const isOurs = request.headers['metadata-flavor'] === 'Google'
      const body = this.#answer(path, isOurs, request.headers.authorization)
      response.writeHead(body === undefined ? 404 : 200, {
        'metadata-flavor': 'Google',
        'content-type': typeof body === 'string' ? 'application/text' : 'application/json',
      })
      response.end(typeof body === 'string' ? body : JSON.stringify(body ?? {}))
    })
  }

  #answer(path: string, isOurs: boolean, authorization = ''): string | object | undefined {
    const token = { access_token: this.#token, expires_in: 3600, token_type: 'Bearer' }
    const account = '/computeMetadata/v1/instance/service-accounts/default'
    if (isOurs && path === `${account}/email`) return this.#email
    if (isOurs && path === `${account}/token`) return token
    if (isOurs && path === '/computeMetadata/v1/universe/universe-domain') return 'googleapis.com'
    if (path === '/sts/token')
      return {
        access_token: 'of-the-exchange',
        expires_in: 3600,
        token_type: 'Bearer',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      }
    const impersonates =
      path === `/v1/projects/-/serviceAccounts/${this.#email}:generateAccessToken`
    if (impersonates && authorization === 'Bearer of-the-exchange')
      return {
        accessToken: this.#token,
        expireTime: new Date(Date.now() + 3_600_000).toISOString(),
      }
    return undefined
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}
