import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { identityUri } from '../../identity/name.ts'
import type { TlsFacts } from '../../transport/tls-wire.ts'
import type { Access } from './gate.ts'
import { credentialsOf } from './denials.ts'

/** Judges peers whose chains were verified, and writes down what happened to them. */
export interface Gatekeeper {
  /** Why a peer is not let in; undefined: it is. */
  denialOf(facts: TlsFacts): PosternError | undefined
  /** Of a flood of events the first ones are written down. */
  note(kind: string, facts: TlsFacts, detail: string): void
}

/** The gatekeeper of a gateway without a store: TLS alone decides. */
export const LETS_ALL_IN: Gatekeeper = { denialOf: () => undefined, note: () => undefined }

/** Judges by the store's denials and by the CAs: `isRetired` says whose certificates are let in no more. */
class StoreGatekeeper implements Gatekeeper {
  readonly #access: Access
  readonly #isRetired: (issuer: string) => boolean
  readonly #wallMs: () => number

  constructor(access: Access, isRetired: (issuer: string) => boolean, wallMs: () => number) {
    this.#access = access
    this.#isRetired = isRetired
    this.#wallMs = wallMs
  }

  denialOf({ certificate, identity }: TlsFacts): PosternError | undefined {
    const credentials = credentialsOf(certificate, identity)
    const denial = this.#access.denials.denialOf(credentials)
    if (denial !== undefined || !this.#isRetired(credentials.issuer)) return denial
    return new PosternError('CA_RETIRED', 'the CA that issued the certificate is retired')
  }

  note(kind: string, { identity, address, certificate }: TlsFacts, detail: string): void {
    const uri = identityUri(identity)
    const { serial } = credentialsOf(certificate, identity)
    const at = this.#wallMs()
    this.#access.events.note({ at, kind, actor: uri, identity: uri, serial, address, detail })
  }
}

/** The gatekeeper of a gateway; `access`: undefined without a store. */
export function gatekeeperOf(
  access: Access | undefined,
  isRetired: (issuer: string) => boolean,
  clock: Clock,
): Gatekeeper {
  return access === undefined
    ? LETS_ALL_IN
    : new StoreGatekeeper(access, isRetired, () => clock.wallMs())
}
