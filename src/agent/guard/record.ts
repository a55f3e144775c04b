import { join } from 'node:path'
import type { Checkpoint } from '../../audit/chain.ts'
import { AuditRecorder } from '../../audit/recorder.ts'
import { RecordWriter } from '../../audit/writer.ts'
import { asPosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { Reason } from '../health/health.ts'

const SEGMENT_BYTES_MAX = 64 * 1024 * 1024
const SEGMENT_AGE_MS = 86_400_000
const RUN_BYTES = 4
const NEARLY_FULL = 0.8
/** An anchor that has taken nothing for so long is a reason not to be healthy. */
const ANCHOR_LATE_MS = 600_000

type AuditSettings = Pick<
  AgentSettings,
  | 'audit.directory'
  | 'audit.keep'
  | 'audit.max'
  | 'audit.onFull'
  | 'audit.anchor'
  | 'state.directory'
>

/** How the record is. */
export interface RecordReport {
  readonly directory: string
  readonly lines: number
  /** SHA-256 of the last batch, in hex. */
  readonly head: string
  /** Key identifier of the audit key; empty before there is one. */
  readonly key: string
  /** Last line of which an anchor has a checkpoint; undefined: no anchor is set. */
  readonly anchoredTo: number | undefined
  readonly failure: string | undefined
}

/** Where the record of an agent with these settings lies. */
export function recordDirectory(
  settings: Pick<AgentSettings, 'audit.directory' | 'state.directory'>,
): string {
  return settings['audit.directory'] ?? join(settings['state.directory'], 'audit')
}

/** The record of a running agent: written, signed, and anchored where the customer says. */
export class AgentRecord {
  readonly recorder: AuditRecorder
  readonly #writer: RecordWriter
  readonly #settings: AuditSettings
  readonly #identity: string
  readonly #logger: Logger
  readonly #clock: Ambient['clock']
  #anchoredTo = 0
  #anchorFailure: string | undefined
  #anchoredAtMs: number
  #isSending = false
  #waiting: Checkpoint | undefined

  constructor(settings: AuditSettings, ambient: Ambient, identity: string) {
    const { clock, logger, random } = ambient
    this.#settings = settings
    this.#identity = identity
    this.#logger = logger.child({ component: 'audit' })
    this.#clock = clock
    this.#anchoredAtMs = clock.nowMs()
    this.#writer = new RecordWriter({
      settings: {
        directory: recordDirectory(settings),
        keepMs: settings['audit.keep'],
        bytesMax: settings['audit.max'],
        segmentBytesMax: Math.min(SEGMENT_BYTES_MAX, settings['audit.max'] / 4),
        segmentAgeMs: SEGMENT_AGE_MS,
      },
      clock,
      logger: this.#logger,
      identity,
      onCheckpoint: (checkpoint) => {
        this.#waiting = checkpoint
        void this.#anchor()
      },
    })
    const stops = settings['audit.onFull'] === 'stop'
    this.recorder = new AuditRecorder(this.#writer, clock, random.hex(RUN_BYTES), stops)
  }

  start(): void {
    this.recorder.start()
  }

  stop(): void {
    this.recorder.stop()
  }

  report(): RecordReport {
    const { lines, head, key, failure } = this.#writer.report()
    const isAnchored = this.#settings['audit.anchor'] !== undefined
    const anchoredTo = isAnchored ? this.#anchoredTo : undefined
    return { directory: recordDirectory(this.#settings), lines, head, key, anchoredTo, failure }
  }

  /** What keeps the agent from being healthy. */
  reasons(): Reason[] {
    const { failure, heldShare } = this.#writer.report()
    const isLate = this.#clock.nowMs() - this.#anchoredAtMs > ANCHOR_LATE_MS
    const found: Reason[] = []
    if (failure !== undefined) {
      const calls = this.#settings['audit.onFull'] === 'stop' ? 'calls stop' : 'calls go on'
      found.push({ key: 'record', text: `the record cannot be written, and ${calls}: ${failure}` })
    }
    if (failure === undefined && heldShare > NEARLY_FULL)
      found.push({
        key: 'record full',
        text: `the record has ${String(Math.round(heldShare * 100))} % of audit.max in lines that are younger than audit.keep`,
      })
    if (this.#anchorFailure !== undefined && isLate)
      found.push({ key: 'anchor', text: `the record is not anchored: ${this.#anchorFailure}` })
    return found
  }

  /** Takes the last checkpoint to its anchor; one that fails is tried with the next. */
  async #anchor(): Promise<void> {
    const anchor = this.#settings['audit.anchor']
    if (anchor === undefined || this.#isSending) return
    this.#isSending = true
    try {
      const { sendToAnchor } = await import('../../audit/anchor.ts')
      while (this.#waiting !== undefined) {
        const checkpoint: Checkpoint = this.#waiting
        this.#waiting = undefined
        await sendToAnchor(anchor, this.#identity, checkpoint)
        this.#anchoredTo = checkpoint.n
        this.#anchoredAtMs = this.#clock.nowMs()
        this.#anchorFailure = undefined
      }
    } catch (error) {
      const { code, rawMessage: reason } = asPosternError(error)
      if (this.#anchorFailure === undefined)
        this.#logger.warn({ code, reason }, 'a checkpoint of the record did not reach its anchor')
      this.#anchorFailure = reason
    } finally {
      this.#isSending = false
    }
  }
}
