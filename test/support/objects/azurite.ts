import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'
import { freePort } from '../../../scripts/free-port.ts'
import { eventually } from '../eventually.ts'
import { send } from './send.ts'

const BLOB = fileURLToPath(
  new URL('../../../node_modules/azurite/dist/src/blob/main.js', import.meta.url),
)
/** Account and key that Azurite is known by. */
export const ACCOUNT = 'devstoreaccount1'

/** Azurite's blob service over HTTPS, with identities by token, as a storage account has them. */
export class Azurite {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-azurite-'))
  readonly endpoint: string
  readonly #process: ChildProcess

  private constructor(port: number, { certificateFile, keyFile }: KeyFilePaths) {
    this.endpoint = `https://localhost:${String(port)}/${ACCOUNT}`
    const args = [
      ...['--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', this.folder],
      ...['--cert', certificateFile, '--key', keyFile, '--oauth', 'basic', '--skipApiVersionCheck'],
      '--silent',
    ]
    this.#process = spawn(process.execPath, [BLOB, ...args], { stdio: 'ignore' })
  }

  static async start(files: KeyFilePaths): Promise<Azurite> {
    const azurite = new Azurite(await freePort(), files)
    const isUp = async (): Promise<boolean> => {
      try {
        return (await send({ url: azurite.endpoint, method: 'GET' }, files.bundleFile)).status > 0
      } catch {
        // It does not listen yet.
        return false
      }
    }
    await eventually(isUp, 'Azurite is up')
    return azurite
  }

  stop(): void {
    this.#process.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** The endpoint of managed identities on a machine of Azure's app service, which hands out tokens: what a platform does, and no more. */
export class IdentityEndpoint {
  /** What was asked for: `resource`, and whether the platform's own header came. */
  readonly asked: { readonly resource: string; readonly isOurs: boolean }[] = []
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://x')
      const isOurs = request.headers['x-identity-header'] === 'of-the-platform'
      const resource = url.searchParams.get('resource') ?? ''
      this.asked.push({ resource, isOurs })
      response.writeHead(isOurs ? 200 : 403, { 'content-type': 'application/json' })
      const expires = Math.floor(Date.now() / 1000) + 3600
      const token = {
        access_token: jwt(resource, expires),
        expires_on: expires,
        resource,
        token_type: 'Bearer',
      }
      response.end(JSON.stringify(isOurs ? token : {}))
    })
  }

  /** The one of this process, listening, as the environment says: Azure's library finds it once, and keeps to it. */
  static async shared(): Promise<IdentityEndpoint> {
    if (shared !== undefined) return shared
    const made = new IdentityEndpoint()
    shared = made
    made.#server.listen(0, '127.0.0.1')
    await once(made.#server, 'listening')
    made.#server.unref()
    const { port } = made.#server.address() as AddressInfo
    process.env.IDENTITY_ENDPOINT = `http://127.0.0.1:${String(port)}/token`
    process.env.IDENTITY_HEADER = 'of-the-platform'
    return made
  }
}

let shared: IdentityEndpoint | undefined

/** Azurite looks at claims, and at no signature. */
function jwt(audience: string, expires: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const tenant = '00000000-0000-0000-0000-000000000001'
  const claims = {
    ...{ aud: audience, iss: `https://sts.windows.net/${tenant}/`, tid: tenant, oid: tenant },
    ...{ iat: expires - 3900, nbf: expires - 3900, exp: expires, sub: tenant, ver: '1.0' },
  }
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.${Buffer.from('x').toString('base64url')}`
}
