import type { CancelTimer, Clock } from '../../base/clock.ts'
import { every } from '../../base/every.ts'
import { HealthJudge, type Reason, type Verdict } from './judge.ts'
import type { Timeline } from './timeline.ts'

const JUDGE_MS = 1000

/** The values and collaborators that Health is given. */
export interface HealthPorts {
  readonly clock: Clock
  readonly timeline: Timeline
  /** What keeps the agent from being healthy at this moment, in the words of each room. */
  readonly reasons: (nowWallMs: number) => readonly Reason[]
  /** A reason that is often over in a moment counts only after this, in ms. */
  readonly delayMs: number
}

/** Judges how the agent is and why: once a second, and at every change that is told. */
export class Health {
  readonly #ports: HealthPorts
  readonly #judge: HealthJudge
  #last: Verdict
  #cancelTimer: CancelTimer | undefined

  constructor(ports: HealthPorts) {
    this.#ports = ports
    const nowMs = ports.clock.wallMs()
    this.#judge = new HealthJudge(ports.delayMs, nowMs)
    this.#last = { health: 'down', sinceMs: nowMs, reasons: [] }
  }

  start(): void {
    this.judge()
    this.#cancelTimer = every(
      this.#ports.clock,
      () => JUDGE_MS,
      () => {
        this.judge()
      },
    )
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  /** The last verdict. */
  report(): Verdict {
    return this.#last
  }

  judge(): void {
    const { clock, timeline, reasons } = this.#ports
    const nowMs = clock.wallMs()
    const before = this.#last.health
    this.#last = this.#judge.update(reasons(nowMs), nowMs)
    const { health, reasons: found } = this.#last
    if (health === before) return
    timeline.note('health', [health, ...found.map(({ text }) => text)].join('; '))
  }
}

export { HealthJudge, type HealthName, type Reason, type Verdict } from './judge.ts'
export { type AgentEvent, Timeline } from './timeline.ts'
