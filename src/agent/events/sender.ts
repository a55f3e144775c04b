import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { RUNS_FEATURE } from '../../contract/features.ts'
import { ENTRIES_MAX } from '../../contract/run-event.ts'
import type { EventQueue } from '../../dataplane/events/events.ts'
import { RunSink } from '../../gen/postern/v1/runs_pb.js'
import type { Entry } from '../../gen/postern/v1/runs_pb.js'
import { RpcError } from '../../rpc/status.ts'
import { unaryClientOf } from '../../rpc/typed.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import { OwnChannel, type AgentGuard } from '../guard/guard.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'

const BYTES_MAX = 40 * 1024
const SEND_MS_MAX = 10_000
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 30_000

/** The values and collaborators that EventSender is given. */
export interface EventSenderPorts {
  readonly clock: Clock
  readonly logger: Logger
  readonly guard: AgentGuard
  readonly tunnels: Tunnels
  readonly queue: EventQueue
}

/** Hands events on to a gateway, one batch after another, so that none overtakes another. */
export class EventSender {
  readonly #ports: EventSenderPorts
  #isSending = false
  #isStopped = false
  #retryMs = RETRY_MS_MIN
  #cancelTimer: CancelTimer | undefined
  #countMax = ENTRIES_MAX
  /** Why the last batch did not arrive; undefined: it did. */
  failure: string | undefined

  constructor(ports: EventSenderPorts) {
    this.#ports = ports
  }

  /** Goes on, where there is something and a gateway that takes it. */
  wake(): void {
    if (this.#isSending || this.#isStopped || this.#cancelTimer !== undefined) return
    this.#isSending = true
    this.#run()
      .catch((error: unknown) => {
        const { code, rawMessage: reason } = asPosternError(error)
        this.failure = reason
        this.#ports.logger.warn({ code, reason }, 'events of runs were not taken')
        this.#later()
      })
      .finally(() => {
        this.#isSending = false
      })
  }

  /** At once, as a gateway has come. */
  hurry(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#retryMs = RETRY_MS_MIN
    this.wake()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelTimer?.()
  }

  #later(): void {
    if (this.#isStopped) return
    this.#cancelTimer = this.#ports.clock.startTimer(this.#retryMs, () => {
      this.#cancelTimer = undefined
      this.wake()
    })
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2)
  }

  async #run(): Promise<void> {
    const { queue, guard } = this.#ports
    for (;;) {
      const entries = queue.next(this.#countMax, BYTES_MAX)
      const connection = this.#gateway()
      // Locked down, the customer wants nothing to leave.
      if (entries.length === 0 || connection === undefined || guard.report().lockdown !== undefined)
        return
      const channel = new OwnChannel(guard.guard, connection, 'run-metadata')
      const client = unaryClientOf(RunSink, channel)
      let kept
      try {
        const request = { entries: [...entries] }
        ;({ kept } = await client.append(request, { timeoutMs: SEND_MS_MAX }))
      } catch (error) {
        if (!isRefused(error)) throw error
        this.#partOrDrop(entries, error)
        continue
      }
      if (this.#isStopped) return
      this.#countMax = Math.min(ENTRIES_MAX, this.#countMax * 2)
      queue.acknowledge(Math.min(kept, entries.length))
      if (kept < entries.length)
        throw new PosternError('EVENTS_FULL', 'the gateway has kept a part alone')
      this.failure = undefined
      this.#retryMs = RETRY_MS_MIN
    }
  }

  /** An entry that is refused holds up none behind it: halves are sent until it stands alone. */
  #partOrDrop(entries: readonly Entry[], { rawMessage: reason }: RpcError): void {
    if (entries.length > 1) {
      this.#countMax = Math.floor(entries.length / 2)
      return
    }
    this.#ports.logger.error({ code: 'EVENT_REFUSED', reason }, 'an event of a run is lost')
    this.#ports.queue.drop()
  }

  #gateway(): RpcConnection | undefined {
    const { ready } = this.#ports.tunnels
    return ready.find(({ welcome }) => welcome.features.includes(RUNS_FEATURE))?.connection
  }
}

/** Whether a gateway says that it will not take what it was sent, whenever that is sent. */
function isRefused(error: unknown): error is RpcError {
  return error instanceof RpcError && error.status === 'INVALID_ARGUMENT'
}
