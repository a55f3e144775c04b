import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { PosternError } from '../../base/errors.ts'
import { Secrets } from '../../gen/postern/dataplane/v1/secrets_pb.js'
import type { Offer } from '../../rpc/service.ts'
import { asRpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import { useBackend, type FaultPorts } from '../backend-use.ts'
import type { SecretsRow } from '../secrets-row.ts'
import { openBackend, type BackendPorts } from './open-backend.ts'
import { LISTED_MAX, type SecretBackend } from './secret-backend.ts'
import {
  nameRefused,
  readScope,
  scopeMessage,
  type ScopeMessage,
  type SecretPath,
} from './secret-path.ts'

const VALUE_BYTES_MAX = 64 * 1024

/** The collaborators of the backends for secrets. */
export type SecretPorts = FaultPorts & BackendPorts

interface Named {
  readonly backend: string
  readonly scope?: ScopeMessage | undefined
  readonly name: string
}

/** The customer's backends for secrets: writes, deletes and lists, and has no way to read a value. */
export class SecretBackends {
  readonly #ports: SecretPorts
  readonly #rows: ReadonlyMap<string, SecretsRow>
  readonly #open = new Map<string, Promise<SecretBackend>>()

  constructor(rows: readonly SecretsRow[], ports: SecretPorts) {
    this.#ports = ports
    this.#rows = new Map(rows.map((row) => [row.name, row]))
  }

  /** `postern.dataplane.v1.Secrets`. */
  offers(): Offer[] {
    return offersOf(Secrets, {
      put: async (request, { signal }) => {
        // Out of the frame at once, which is used again; and out of that, too.
        const value = Buffer.from(request.value)
        request.value.fill(0)
        try {
          if (value.length > VALUE_BYTES_MAX)
            throw rpcErrorOfCode(
              'SECRET_TOO_LARGE',
              `a value has ${String(VALUE_BYTES_MAX)} bytes at most`,
            )
          return await this.#run(request, 'put', async (backend, path) => ({
            version: await backend.put(path, value, signal),
          }))
        } finally {
          value.fill(0)
        }
      },
      delete: (request, { signal }) =>
        this.#run(request, 'delete', async (backend, path) => ({
          deleted: await backend.delete(path, signal),
        })),
      list: async ({ backend, scope: wanted }, { signal }) => {
        const scope = readScope(wanted)
        const entries = await this.#with(backend, 'list', (one) => one.list(scope, signal))
        const secrets = entries
          .slice(0, LISTED_MAX)
          .map(({ scope: of, name, createdMs, version }) => ({
            ...{ scope: scopeMessage(of), name, version },
            ...(createdMs === undefined ? {} : { created: timestampFromMs(createdMs) }),
          }))
        return { secrets, cut: entries.length > LISTED_MAX }
      },
    })
  }

  /** What stands in the settings of each. */
  report(): { readonly name: string; readonly type: string }[] {
    return [...this.#rows.values()].map(({ name, type }) => ({ name, type }))
  }

  async #run<T>(
    { backend: name, scope, name: secret }: Named,
    what: 'put' | 'delete',
    act: (backend: SecretBackend, path: SecretPath) => Promise<T>,
  ): Promise<T> {
    const path = { scope: readScope(scope), name: secret }
    return await this.#with(name, what, (backend) => {
      if (!backend.name.test(secret)) throw nameRefused(`a name in ${name} is ${backend.nameForm}`)
      if (backend.id(path).length > backend.idMax)
        throw nameRefused(`scope and name together are longer than ${name} takes`)
      return act(backend, path)
    })
  }

  async #with<T>(
    name: string,
    what: 'put' | 'delete' | 'list',
    act: (backend: SecretBackend) => Promise<T>,
  ): Promise<T> {
    const row = this.#rows.get(name)
    if (row === undefined)
      throw rpcErrorOfCode('SOURCE_UNKNOWN', 'no backend for secrets has that name')
    const seen = { isSent: false }
    const using = useBackend({ setting: 'secrets', name }, this.#ports, async () => {
      try {
        return await act(await this.#opened(row))
      } catch (error) {
        seen.isSent = error instanceof PosternError && error.facts.isSent === true
        throw error
      }
    })
    try {
      return await using
    } catch (error) {
      const fault = asRpcError(error)
      if (what === 'list' || fault.code !== 'BACKEND_UNREACHABLE' || !seen.isSent) throw fault
      const text = `it did not answer, and may have done it or not: List tells by the version; ${fault.rawMessage.split('; ').at(-1) ?? ''}`
      throw rpcErrorOfCode('WRITE_UNKNOWN', text)
    }
  }

  #opened(row: SecretsRow): Promise<SecretBackend> {
    const known = this.#open.get(row.name)
    if (known !== undefined) return known
    const opening = openBackend(row, this.#ports)
    this.#open.set(row.name, opening)
    opening.catch(() => this.#open.delete(row.name))
    return opening
  }
}
