import { readPublicFile } from '../../identity/key-files.ts'
import { askBackend, type BackendAnswer, type BackendCall } from '../../transport/ask-backend.ts'
import type { GoogleCredentials } from '../google-credentials.ts'
import type { SecretsRow } from '../secrets-row.ts'
import { succeeded, type SecretBackend } from './secret-backend.ts'
import { base64Bytes, withBody } from './secret-body.ts'
import {
  isWithin,
  joinPath,
  splitPath,
  type Scope,
  type SecretEntry,
  type SecretPath,
} from './secret-path.ts'

const [NOT_FOUND, CONFLICT] = [404, 409]
const PAGES_MAX = 100
const BETWEEN = '--'

/** Google Cloud Secret Manager (cloud.google.com/secret-manager/docs/reference/rest). */
export class GcpSecrets implements SecretBackend {
  readonly name = /^[A-Za-z0-9_](?:-?[A-Za-z0-9_]){0,126}$/
  readonly nameForm = '1 to 127 of letters, digits, _ and single hyphens'
  readonly idMax = 255
  readonly #row: Extract<SecretsRow, { type: 'gcp' }>
  readonly #auth: GoogleCredentials

  constructor(row: Extract<SecretsRow, { type: 'gcp' }>, auth: GoogleCredentials) {
    this.#row = row
    this.#auth = auth
  }

  async put(path: SecretPath, value: Buffer, signal: AbortSignal): Promise<string> {
    const id = this.id(path)
    const empty = JSON.stringify({
      replication: { automatic: {} },
      labels: { 'managed-by': 'postern' },
    })
    const made = await this.#ask('POST', `secrets?secretId=${id}`, signal, empty)
    if (made.status !== CONFLICT) succeeded(made)
    return await withBody('{"payload":{"data":"', base64Bytes(value), '"}}', async (body) => {
      const answer = await this.#ask('POST', `secrets/${id}:addVersion`, signal, body)
      const { name } = succeeded(answer)
      return typeof name === 'string' ? (/\/versions\/(\d+)$/.exec(name)?.[1] ?? '') : ''
    })
  }

  async delete(path: SecretPath, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#ask('DELETE', `secrets/${this.id(path)}`, signal)
    if (answer.status === NOT_FOUND) return false
    succeeded(answer)
    return true
  }

  async list(scope: Scope, signal: AbortSignal): Promise<readonly SecretEntry[]> {
    const found: SecretEntry[] = []
    let token = ''
    for (let page = 0; page < PAGES_MAX; page++) {
      const query = new URLSearchParams({
        pageSize: '500',
        ...(token === '' ? {} : { pageToken: token }),
      })
      const answer = succeeded(await this.#ask('GET', `secrets?${query.toString()}`, signal))
      const list = Array.isArray(answer.secrets) ? (answer.secrets as unknown[]) : []
      for (const one of list) {
        const entry = this.#entry(one)
        if (entry !== undefined && isWithin(entry, scope)) found.push(entry)
      }
      const { nextPageToken: next } = answer
      if (typeof next !== 'string' || next === '') break
      token = next
    }
    return found
  }

  #entry(one: unknown): SecretEntry | undefined {
    const { name, createTime } = (one ?? {}) as Record<string, unknown>
    const id = typeof name === 'string' ? (name.split('/').at(-1) ?? '') : ''
    const { prefix } = this.#row
    const path = id.startsWith(prefix) ? splitPath(id.slice(prefix.length), BETWEEN) : undefined
    const createdMs = Date.parse(String(createTime))
    return (
      path && { ...path, createdMs: Number.isNaN(createdMs) ? undefined : createdMs, version: '' }
    )
  }

  id(path: SecretPath): string {
    return `${this.#row.prefix}${joinPath(path, BETWEEN)}`
  }

  async #ask(
    method: BackendCall['method'],
    path: string,
    signal: AbortSignal,
    body?: string | Buffer,
  ): Promise<BackendAnswer> {
    const { endpoint, project, caFile } = this.#row
    const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
    const url = new URL(`/v1/projects/${project}/${path}`, endpoint)
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const headers = { authorization: await this.#auth.bearer(endpoint), ...type }
    return await askBackend({
      method,
      url,
      headers,
      caPem,
      signal,
      ...(body === undefined ? {} : { body }),
    })
  }
}
