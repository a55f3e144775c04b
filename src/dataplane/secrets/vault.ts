import { isUtf8 } from 'node:buffer'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import { askBackend, type BackendAnswer, type BackendCall } from '../../transport/ask-backend.ts'
import type { SecretsRow } from '../secrets-row.ts'
import { fieldOf, LISTED_MAX, succeeded, type SecretBackend } from './secret-backend.ts'
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
const FOLDERS_MAX = 1000

/** The KV engine of HashiCorp Vault, version 2 (developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2). */
export class Vault implements SecretBackend {
  readonly name = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}$/
  readonly nameForm = '1 to 127 of letters, digits, . - and _'
  readonly idMax = 512
  readonly #row: Extract<SecretsRow, { type: 'vault' }>

  constructor(row: Extract<SecretsRow, { type: 'vault' }>) {
    this.#row = row
  }

  async put(path: SecretPath, value: Buffer, signal: AbortSignal): Promise<string> {
    const isText = isUtf8(value)
    const [field, inner] = isText
      ? ['value', jsonBytes(value)]
      : ['value_base64', base64Bytes(value)]
    return await withBody(`{"data":{"${field}":"`, inner, '"}}', async (body) => {
      const answer = await this.#ask('POST', `data/${this.id(path)}`, signal, body)
      const { version } = fieldOf(succeeded(answer), 'data')
      return typeof version === 'number' ? String(version) : ''
    })
  }

  async delete(path: SecretPath, signal: AbortSignal): Promise<boolean> {
    const where = `metadata/${this.id(path)}`
    const there = await this.#ask('GET', where, signal)
    if (there.status === NOT_FOUND) return false
    succeeded(there)
    succeeded(await this.#ask('DELETE', where, signal))
    return true
  }

  async list(scope: Scope, signal: AbortSignal): Promise<readonly SecretEntry[]> {
    const found: SecretEntry[] = []
    const folders = [`${scope.join('/')}/`]
    for (let count = 0; folders.length > 0 && count < FOLDERS_MAX; count++) {
      const folder = folders.shift() ?? ''
      for (const key of await this.#keys(folder, signal)) {
        if (key.endsWith('/')) folders.push(`${folder}${key}`)
        else {
          const path = splitPath(`${folder}${key}`, '/')
          if (path === undefined || !isWithin(path, scope)) continue
          // Each is a request: no caller makes us ask for more than it is told of.
          if (found.length > LISTED_MAX) return found
          found.push(await this.#entry(path, signal))
        }
      }
    }
    return found
  }

  async #keys(folder: string, signal: AbortSignal): Promise<readonly string[]> {
    const where = `metadata/${this.#row.prefix}${folder}?list=true`
    const answer = await this.#ask('GET', where, signal)
    if (answer.status === NOT_FOUND) return []
    const { keys } = fieldOf(succeeded(answer), 'data')
    return Array.isArray(keys) ? keys.filter((one) => typeof one === 'string') : []
  }

  async #entry(path: SecretPath, signal: AbortSignal): Promise<SecretEntry> {
    const answer = await this.#ask('GET', `metadata/${this.id(path)}`, signal)
    const { created_time: created, current_version: version } = fieldOf(succeeded(answer), 'data')
    const createdMs = Date.parse(String(created))
    return {
      ...path,
      createdMs: Number.isNaN(createdMs) ? undefined : createdMs,
      version: typeof version === 'number' ? String(version) : '',
    }
  }

  id(path: SecretPath): string {
    return `${this.#row.prefix}${joinPath(path, '/')}`
  }

  #ask(
    method: BackendCall['method'],
    path: string,
    signal: AbortSignal,
    body?: Buffer,
  ): Promise<BackendAnswer> {
    const { url, mount, caFile, tokenFile } = this.#row
    const base = url.pathname.replace(/\/$/, '')
    return askBackend({
      ...{ method, signal, url: new URL(`${base}/v1/${mount}/${path}`, url) },
      caPem: caFile === undefined ? undefined : readPublicFile(caFile),
      headers: {
        'x-vault-token': readSecretFile(tokenFile).trim(),
        'x-vault-request': 'true',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
    })
  }
}
