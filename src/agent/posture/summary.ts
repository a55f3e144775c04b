import { create } from '@bufbuild/protobuf'
import type { CancelTimer, Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { Random } from '../../base/random.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { PostureSummarySchema, type PostureSummary } from '../../gen/postern/v1/tunnel_pb.js'
import { agentPosture } from './look.ts'

const LOOK_MS_MAX = 60_000

/** The values and collaborators that PostureWatch is given. */
export interface PostureWatchPorts {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Those in force. */
  readonly settings: () => AgentSettings
  /** There is another summary to tell. */
  readonly onLooked: () => void
}

/** Looks at the posture again and again, where the customer lets its numbers be told. */
export class PostureWatch {
  readonly #ports: PostureWatchPorts
  #cancelTimer: CancelTimer | undefined
  #ended = new AbortController()
  /** What was seen last; undefined: nothing is told. */
  summary: PostureSummary | undefined

  constructor(ports: PostureWatchPorts) {
    this.#ports = ports
  }

  /** Begins anew, by the settings in force. */
  start(): void {
    this.stop()
    this.#ended = new AbortController()
    if (this.#ports.settings()['posture.tell'] === 'summary') void this.#look(this.#ended.signal)
    else this.summary = undefined
  }

  stop(): void {
    this.#ended.abort()
    this.#cancelTimer?.()
  }

  async #look(ended: AbortSignal): Promise<void> {
    const { clock, settings, logger, onLooked } = this.#ports
    const late = new AbortController()
    const cancel = clock.startTimer(LOOK_MS_MAX, () => {
      late.abort()
    })
    try {
      const signal = AbortSignal.any([ended, late.signal])
      const findings = await agentPosture(settings(), this.#ports, signal)
      if (ended.aborted) return
      const count = (outcome: string): number =>
        findings.filter((one) => one.outcome === outcome).length
      this.summary = create(PostureSummarySchema, {
        ...{ ok: count('OK'), warn: count('WARN'), fail: count('FAIL') },
        ...{ unknown: count('UNKNOWN'), atMs: BigInt(Math.round(clock.wallMs())) },
      })
      onLooked()
    } catch (error) {
      logger.warn({ reason: (error as Error).message }, 'the posture could not be looked at')
    } finally {
      cancel()
    }
    if (ended.aborted) return
    this.#cancelTimer = clock.startTimer(settings()['posture.interval'], () => {
      void this.#look(ended)
    })
  }
}
