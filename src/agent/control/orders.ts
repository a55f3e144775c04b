import { X509Certificate } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { KEY_KINDS } from '../../identity/keys.ts'
import type { AgentRooms } from './rooms.ts'
import { inside } from './diag-snapshot.ts'
import { agentStatus } from './status.ts'

/** `watch` is answered this much later. */
const WATCH_MS = 1000

/** What a renewal has changed. */
export interface Renewed {
  readonly serialBefore: string
  readonly serial: string
  readonly notAfter: string
  readonly key: string
}

/**
 * Orders that come over the daemon's unix socket, which only its own user and root can open: one line
 * each, answered by one JSON object.
 */
export class AgentControl {
  readonly #agent: AgentRooms
  readonly #clock: Clock
  readonly #reload: () => Promise<void>
  readonly #recentLog: () => readonly string[]

  constructor(
    agent: AgentRooms,
    clock: Clock,
    reload: () => Promise<void>,
    recentLog = (): readonly string[] => [],
  ) {
    this.#recentLog = recentLog
    this.#agent = agent
    this.#clock = clock
    this.#reload = reload
  }

  async answer(line: string): Promise<string> {
    try {
      return JSON.stringify(await this.#act(line.trim().split(' ')))
    } catch (error) {
      const { code, rawMessage: message } = asPosternError(error)
      return JSON.stringify({ error: { code, message } })
    }
  }

  async #act([order, ...words]: readonly string[]): Promise<object> {
    switch (order) {
      case 'status':
        return agentStatus(this.#agent, this.#clock.wallMs())
      case 'watch':
        await new Promise<void>((resolve) => this.#clock.startTimer(WATCH_MS, resolve))
        return agentStatus(this.#agent, this.#clock.wallMs())
      case 'diag':
        return await inside(this.#agent, this.#clock, this.#recentLog())
      case 'renew':
        return await renewNow(this.#agent, words[0])
      case 'reload':
        await this.#reload()
        return { reloaded: true }
      default:
        throw new PosternError('USAGE', 'status, watch, diag, renew and reload are known')
    }
  }
}

/**
 * Renews the certificate now. `kindName`: of the new key; undefined: as it is.
 * @throws RENEWAL_REFUSED where somebody else manages it, USAGE, and as Renewal.renewNow
 */
export async function renewNow(
  { store, changes }: Pick<AgentRooms, 'store' | 'changes'>,
  kindName: string | undefined,
): Promise<Renewed> {
  const { renewal } = changes
  if (renewal === undefined) {
    const text = 'somebody else manages the certificate (identity.source: files)'
    throw new PosternError('RENEWAL_REFUSED', text)
  }
  const kind = KEY_KINDS.find((one) => one === kindName)
  if (kindName !== undefined && kind === undefined)
    throw new PosternError('USAGE', `${kindName} is no kind of key`)
  const before = new X509Certificate(store.credential.certificatePem)
  await renewal.renewNow(kind)
  const after = new X509Certificate(store.credential.certificatePem)
  const { asymmetricKeyType, asymmetricKeyDetails } = after.publicKey
  return {
    serialBefore: before.serialNumber.toLowerCase(),
    serial: after.serialNumber.toLowerCase(),
    notAfter: new Date(after.validTo).toISOString(),
    key: `${asymmetricKeyType ?? ''} ${asymmetricKeyDetails?.namedCurve ?? ''}`.trim(),
  }
}
