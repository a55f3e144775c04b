import { isUtf8 } from 'node:buffer'
import type { AwsCredentialIdentity } from '@smithy/types'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { BackendAnswer } from '../../transport/ask-backend.ts'
import { AwsJson } from '../aws-json.ts'
import type { SecretsRow } from '../secrets-row.ts'
import { objectOf, succeeded, type SecretBackend } from './secret-backend.ts'
import { base64Bytes, jsonBytes, withBody } from './secret-body.ts'
import {
  isWithin,
  joinPath,
  splitPath,
  type Scope,
  type SecretEntry,
  type SecretPath,
} from './secret-path.ts'

const REFUSED = 400
/** Of servers that speak its protocol. */
const NOT_FOUND = 404
const PAGES_MAX = 100
const TOKEN_BYTES = 16
const ANSWER_BYTES_MAX = 1024 * 1024

/** The clock, chance and credentials that AwsSecrets is given. */
export interface AwsSecretsPorts {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly random: Pick<Random, 'hex'>
  readonly credentials: () => Promise<AwsCredentialIdentity>
}

/** AWS Secrets Manager, by its own API with bodies of ours: its SDK would make texts of values. */
export class AwsSecrets implements SecretBackend {
  readonly name = /^[A-Za-z0-9_][A-Za-z0-9_+=.@-]{0,126}$/
  readonly nameForm = '1 to 127 of letters, digits and _+=.@-'
  readonly idMax = 512
  readonly #row: Extract<SecretsRow, { type: 'aws' }>
  readonly #ports: AwsSecretsPorts
  readonly #api: AwsJson

  constructor(row: Extract<SecretsRow, { type: 'aws' }>, ports: AwsSecretsPorts) {
    this.#row = row
    this.#ports = ports
    const { region, endpoint, caFile } = row
    const where = { region, endpoint, caFile, bytesMax: ANSWER_BYTES_MAX }
    const service = { service: 'secretsmanager', target: 'secretsmanager', ...where }
    this.#api = new AwsJson(service, ports.clock, ports.credentials)
  }

  async put(path: SecretPath, value: Buffer, signal: AbortSignal): Promise<string> {
    const id = this.id(path)
    const { kmsKey } = this.#row
    // The same for both tries, so that what comes twice is one version.
    const token = this.#ports.random.hex(TOKEN_BYTES)
    const made = {
      Name: id,
      ClientRequestToken: token,
      ...(kmsKey === undefined ? {} : { KmsKeyId: kmsKey }),
    }
    const created = await this.#send('CreateSecret', made, value, signal)
    const isThere = kindOf(created) === 'ResourceExistsException'
    const more = { SecretId: id, ClientRequestToken: token }
    const answer = isThere ? await this.#send('PutSecretValue', more, value, signal) : created
    const { VersionId: version } = succeeded(answer)
    return typeof version === 'string' ? version : ''
  }

  async delete(path: SecretPath, signal: AbortSignal): Promise<boolean> {
    const facts = { SecretId: this.id(path), ForceDeleteWithoutRecovery: true }
    const there = await this.#api.ask(
      'DescribeSecret',
      Buffer.from(JSON.stringify({ SecretId: facts.SecretId })),
      signal,
    )
    if (kindOf(there) === 'ResourceNotFoundException') return false
    succeeded(there)
    succeeded(await this.#api.ask('DeleteSecret', Buffer.from(JSON.stringify(facts)), signal))
    return true
  }

  async list(scope: Scope, signal: AbortSignal): Promise<readonly SecretEntry[]> {
    const found: SecretEntry[] = []
    const { prefix } = this.#row
    const filters = [{ Key: 'name', Values: [`${prefix}${scope.join('/')}/`] }]
    let next: unknown
    for (let page = 0; page < PAGES_MAX; page++) {
      const facts = {
        MaxResults: 100,
        Filters: filters,
        ...(typeof next === 'string' ? { NextToken: next } : {}),
      }
      const answer = succeeded(
        await this.#api.ask('ListSecrets', Buffer.from(JSON.stringify(facts)), signal),
      )
      const list = Array.isArray(answer.SecretList) ? (answer.SecretList as unknown[]) : []
      for (const one of list) {
        const entry = entryOf(one, prefix)
        if (entry !== undefined && isWithin(entry, scope)) found.push(entry)
      }
      next = answer.NextToken
      if (typeof next !== 'string') break
    }
    return found
  }

  id(path: SecretPath): string {
    return `${this.#row.prefix}${joinPath(path, '/')}`
  }

  async #send(
    target: string,
    facts: Readonly<Record<string, string>>,
    value: Buffer,
    signal: AbortSignal,
  ): Promise<BackendAnswer> {
    const isText = isUtf8(value)
    const [field, inner] = isText
      ? ['SecretString', jsonBytes(value)]
      : ['SecretBinary', base64Bytes(value)]
    const before = `${JSON.stringify(facts).slice(0, -1)},"${field}":"`
    return await withBody(before, inner, '"}', (body) => this.#api.ask(target, body, signal))
  }
}

function kindOf({ status, body }: BackendAnswer): string | undefined {
  if (status !== REFUSED && status !== NOT_FOUND) return undefined
  const { __type: type } = objectOf(body.toString())
  return typeof type === 'string' ? type.split('#').at(-1) : undefined
}

function entryOf(one: unknown, prefix: string): SecretEntry | undefined {
  if (typeof one !== 'object' || one === null) return undefined
  const {
    Name: name,
    CreatedDate: created,
    SecretVersionsToStages: stages,
  } = one as Record<string, unknown>
  if (typeof name !== 'string' || !name.startsWith(prefix)) return undefined
  const path = splitPath(name.slice(prefix.length), '/')
  const versions = Object.entries((stages ?? {}) as Record<string, unknown>)
  const current = versions.find(([, all]) => Array.isArray(all) && all.includes('AWSCURRENT'))?.[0]
  const createdMs = typeof created === 'number' ? Math.floor(created * 1000) : undefined
  return path && { ...path, createdMs, version: current ?? '' }
}
