import { isUtf8 } from 'node:buffer'
import type { TokenCredential } from '@azure/identity'
import { PosternError } from '../../base/errors.ts'
import { readPublicFile } from '../../identity/key-files.ts'
import { askBackend, type BackendAnswer, type BackendCall } from '../../transport/ask-backend.ts'
import { azureToken } from '../azure-credentials.ts'
import type { SecretsRow } from '../secrets-row.ts'
import { fieldOf, succeeded, type SecretBackend } from './secret-backend.ts'
import { base64Bytes, jsonBytes, withBody } from './secret-body.ts'
import {
  isWithin,
  joinPath,
  splitPath,
  type Scope,
  type SecretEntry,
  type SecretPath,
} from './secret-path.ts'

const NOT_FOUND = 404
const PAGES_MAX = 100
const BETWEEN = '--'
const SCOPE = 'https://vault.azure.net/.default'
const API = 'api-version=7.4'

/** Azure Key Vault (learn.microsoft.com/rest/api/keyvault/secrets). */
export class AzureVault implements SecretBackend {
  readonly name = /^[A-Za-z0-9](?:-?[A-Za-z0-9]){0,126}$/
  readonly nameForm = '1 to 127 of letters, digits and single hyphens'
  readonly idMax = 127
  readonly #row: Extract<SecretsRow, { type: 'azure' }>
  readonly #credential: TokenCredential

  constructor(row: Extract<SecretsRow, { type: 'azure' }>, credential: TokenCredential) {
    this.#row = row
    this.#credential = credential
  }

  async put(path: SecretPath, value: Buffer, signal: AbortSignal): Promise<string> {
    const isText = isUtf8(value)
    const type = isText ? 'text/plain' : 'application/octet-stream;base64'
    const before = `{"contentType":"${type}","tags":{"managed-by":"postern"},"value":"`
    const inner = isText ? jsonBytes(value) : base64Bytes(value)
    return await withBody(before, inner, '"}', async (body) => {
      const answer = await this.#ask('PUT', this.#url(`secrets/${this.id(path)}`), signal, body)
      const { id } = succeeded(answer)
      return typeof id === 'string' ? (id.split('/').at(-1) ?? '') : ''
    })
  }

  async delete(path: SecretPath, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#ask('DELETE', this.#url(`secrets/${this.id(path)}`), signal)
    if (answer.status === NOT_FOUND) return false
    succeeded(answer)
    return true
  }

  async list(scope: Scope, signal: AbortSignal): Promise<readonly SecretEntry[]> {
    const found: SecretEntry[] = []
    let url: URL | undefined = this.#url('secrets', '&maxresults=25')
    for (let page = 0; page < PAGES_MAX && url !== undefined; page++) {
      const answer: Readonly<Record<string, unknown>> = succeeded(
        await this.#ask('GET', url, signal),
      )
      const list = Array.isArray(answer.value) ? (answer.value as unknown[]) : []
      for (const one of list) {
        const entry = this.#entry((one ?? {}) as Record<string, unknown>)
        if (entry !== undefined && isWithin(entry, scope)) found.push(entry)
      }
      url = this.#next(answer.nextLink)
    }
    return found
  }

  /** The token goes to the vault alone, whatever its answers name. */
  #next(link: unknown): URL | undefined {
    if (typeof link !== 'string' || link === '' || !URL.canParse(link)) return undefined
    const url = new URL(link)
    if (url.origin === this.#row.url.origin) return url
    throw new PosternError('BACKEND_REFUSED', 'its list goes on elsewhere')
  }

  #entry(one: Readonly<Record<string, unknown>>): SecretEntry | undefined {
    const id = typeof one.id === 'string' ? (one.id.split('/').at(-1) ?? '') : ''
    const { prefix } = this.#row
    const path = id.startsWith(prefix) ? splitPath(id.slice(prefix.length), BETWEEN) : undefined
    const { created } = fieldOf(one, 'attributes')
    const createdMs = typeof created === 'number' ? created * 1000 : undefined
    return path && { ...path, createdMs, version: '' }
  }

  id(path: SecretPath): string {
    return `${this.#row.prefix}${joinPath(path, BETWEEN)}`
  }

  #url(path: string, more = ''): URL {
    return new URL(`/${path}?${API}${more}`, this.#row.url)
  }

  async #ask(
    method: BackendCall['method'],
    url: URL,
    signal: AbortSignal,
    body?: Buffer,
  ): Promise<BackendAnswer> {
    const { caFile } = this.#row
    const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const headers = {
      authorization: `Bearer ${await azureToken(this.#credential, SCOPE, signal)}`,
      ...type,
    }
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
