import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import { askBackend, type BackendAnswer, type BackendCall } from '../../transport/ask-backend.ts'
import type { SecretsRow } from '../secrets-row.ts'
import { fieldOf, objectOf, succeeded, type SecretBackend } from './secret-backend.ts'
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
const INDEX = 'postern-secrets-index'
const APPLY = 'application/apply-patch+yaml'
const MERGE = 'application/merge-patch+json'
const TRIES = 5

/**
 * Secrets of Kubernetes, written by server-side apply. Whoever may list Secrets may read them, so what there is is kept in a
 * ConfigMap of ours: the agent needs no right to get or list Secrets, but to patch and delete them, and to that ConfigMap.
 */
export class KubernetesSecrets implements SecretBackend {
  readonly name = /^[a-z0-9](?:-?[a-z0-9]){0,62}$/
  readonly nameForm = '1 to 63 of a-z, 0-9 and single hyphens'
  readonly idMax = 253
  readonly #row: Extract<SecretsRow, { type: 'kubernetes' }>
  readonly #clock: Pick<Clock, 'wallMs'>

  constructor(row: Extract<SecretsRow, { type: 'kubernetes' }>, clock: Pick<Clock, 'wallMs'>) {
    this.#row = row
    this.#clock = clock
  }

  id(path: SecretPath): string {
    return joinPath(path, '.')
  }

  async put(path: SecretPath, value: Buffer, signal: AbortSignal): Promise<string> {
    const name = this.id(path)
    const { namespace } = this.#row
    const head = { apiVersion: 'v1', kind: 'Secret', type: 'Opaque' }
    const metadata = { name, namespace, labels: { 'app.kubernetes.io/managed-by': 'postern' } }
    const before = `${JSON.stringify({ ...head, metadata }).slice(0, -1)},"data":{"value":"`
    const version = await withBody(before, base64Bytes(value), '"}}', async (body) => {
      const query = 'fieldManager=postern&force=true'
      const answer = await this.#ask('PATCH', `secrets/${name}?${query}`, signal, APPLY, body)
      const { resourceVersion } = fieldOf(succeeded(answer), 'metadata')
      return typeof resourceVersion === 'string' ? resourceVersion : ''
    })
    const entry = { created: new Date(this.#clock.wallMs()).toISOString(), version }
    await this.#note({ [name]: JSON.stringify(entry) }, signal)
    return version
  }

  async delete(path: SecretPath, signal: AbortSignal): Promise<boolean> {
    const name = this.id(path)
    const answer = await this.#ask('DELETE', `secrets/${name}`, signal)
    if (answer.status !== NOT_FOUND) succeeded(answer)
    await this.#note({ [name]: null }, signal)
    return answer.status !== NOT_FOUND
  }

  async list(scope: Scope, signal: AbortSignal): Promise<readonly SecretEntry[]> {
    const answer = await this.#ask('GET', `configmaps/${INDEX}`, signal)
    if (answer.status === NOT_FOUND) return []
    return Object.entries(fieldOf(succeeded(answer), 'data')).flatMap(([key, text]) => {
      const path = splitPath(key, '.')
      if (path === undefined || !isWithin(path, scope)) return []
      const { created, version } = objectOf(String(text))
      const createdMs = Date.parse(String(created))
      return [
        {
          ...path,
          createdMs: Number.isNaN(createdMs) ? undefined : createdMs,
          version: typeof version === 'string' ? version : '',
        },
      ]
    })
  }

  /** Says in the index what has become of secrets: a merge, so that agents do not undo each other's. */
  async #note(data: Readonly<Record<string, string | null>>, signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < TRIES; tries++) {
      const patch = JSON.stringify({ data })
      const answer = await this.#ask('PATCH', `configmaps/${INDEX}`, signal, MERGE, patch)
      if (answer.status !== NOT_FOUND) {
        succeeded(answer)
        return
      }
      const metadata = { name: INDEX, namespace: this.#row.namespace }
      const empty = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata })
      const made = await this.#ask('POST', 'configmaps', signal, 'application/json', empty)
      if (made.status !== CONFLICT) succeeded(made)
    }
    throw new PosternError('BACKEND_REFUSED', 'the index of secrets cannot be kept')
  }

  #ask(
    method: BackendCall['method'],
    path: string,
    signal: AbortSignal,
    type?: string,
    body?: string | Buffer,
  ): Promise<BackendAnswer> {
    const { url, namespace, caFile, tokenFile } = this.#row
    return askBackend({
      ...{ method, signal, url: new URL(`/api/v1/namespaces/${namespace}/${path}`, url) },
      caPem: readPublicFile(caFile),
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${readSecretFile(tokenFile).trim()}`,
        ...(type === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body }),
    })
  }
}
