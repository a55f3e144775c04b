import type { Clock } from '../../base/clock.ts'
import { printable } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import {
  Notices as NoticesService,
  type CanaryRequest,
  type DescribeRequest,
  type NarrowRequest,
  type Notice,
} from '../../gen/postern/v1/tunnel_pb.js'
import { Listeners } from '../../base/listeners.ts'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { offersOf } from '../../rpc/typed.ts'
import type { CredentialChanges } from '../changes/changes.ts'
import type { CredentialStore } from '../credential/credential.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { Services } from '../services/services.ts'
import type { Reason } from '../health/health.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'
import type { Canaries, Canary } from './canaries.ts'

const BYTES_MAX = 1024 * 1024
const PART_BYTES = 256 * 1024
const WARNINGS_MAX = 8
const WARNINGS_PER_NOTICE = 4
/** A warning is a reason not to be healthy for this long. */
const WARNING_MS = 3_600_000

/** The values and collaborators that Notices is given. */
export interface NoticesPorts {
  readonly logger: Logger
  readonly clock: Clock
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly changes: CredentialChanges
  readonly tunnels: Tunnels
  readonly canaries: Canaries
  readonly services: Pick<Services, 'described'>
}

/** A warning that the gateway gave. */
export interface Warning {
  readonly atMs: number
  readonly text: string
}

/** What gateways have told unasked. */
export interface NoticesReport {
  /** Oldest first. */
  readonly warnings: readonly Warning[]
  /** By the name of the gateway. */
  readonly canaries: ReadonlyMap<string, Canary>
}

/** Takes what the gateway tells unasked; nothing of it is believed beyond what it proves. */
export class Notices {
  readonly #ports: NoticesPorts
  /** The last ones, oldest first. */
  readonly warnings: Warning[] = []
  /** A gateway warns of something. */
  readonly warned = new Listeners<Warning>()

  constructor(ports: NoticesPorts) {
    this.#ports = ports
  }

  offers(): Offer[] {
    const tell = (notice: Notice) => this.#take(notice)
    const canary = (request: CanaryRequest, { caller }: CallContext): object => {
      if (caller.kind === 'gateway') this.#ports.canaries.note(caller.name, request)
      return {}
    }
    const narrow = ({ policy }: NarrowRequest, { caller, tunnel }: CallContext) => {
      const gateway = caller.kind === 'gateway' ? caller.name : ''
      const { widening } = this.#ports.guard.narrow(tunnel, gateway, policy)
      return { widening: widening.map(({ name }) => name) }
    }
    const describe = ({ hash, offset }: DescribeRequest): object => {
      const { described } = this.#ports.services
      if (described?.hash.equals(hash) !== true) return {}
      const { bytes } = described
      return { part: bytes.subarray(offset, offset + PART_BYTES), totalBytes: bytes.length }
    }
    return offersOf(NoticesService, { tell, canary, narrow, describe }).map((offer) => ({
      ...offer,
      requestBytesMax: BYTES_MAX,
    }))
  }

  async #take(notice: Notice): Promise<{ bundleVersion: number }> {
    const { store, changes, tunnels, logger, clock } = this.#ports
    for (const text of notice.warnings.slice(0, WARNINGS_PER_NOTICE)) {
      const warning = { atMs: clock.wallMs(), text: printable(text) }
      this.warnings.push(warning)
      if (this.warnings.length > WARNINGS_MAX) this.warnings.shift()
      logger.warn({ reason: warning.text }, 'the gateway warns')
      this.warned.tell(warning)
    }
    const bundleVersion = await changes.adopt(notice.bundles)
    store.takeCrls(notice.crls, notice.gatewayAuthorities)
    tunnels.judgeGateways()
    if (notice.renewWithinMs !== undefined) changes.orderRenewal(notice.renewWithinMs)
    return { bundleVersion }
  }

  /** What gateways warned of, and the last canary call of each. */
  report(): NoticesReport {
    return { warnings: [...this.warnings], canaries: this.#ports.canaries.all }
  }

  /** What keeps the agent from being healthy. */
  reasons(nowMs: number): Reason[] {
    return this.warnings
      .filter(({ atMs }) => nowMs - atMs < WARNING_MS)
      .map(({ text }) => ({ key: `warning ${text}`, text: `the gateway warns: ${text}` }))
  }
}

export { Canaries, canaryReasons, type Canary } from './canaries.ts'
export { Heartbeat } from './heartbeat.ts'
