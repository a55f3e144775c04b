import type { CancelTimer, Clock } from '../base/clock.ts'
import { asPosternError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { ProbeRow } from './probe-row.ts'

/** What is known of a probed service. */
export interface ServiceHealth {
  readonly name: string
  readonly isDown: boolean
  /** Why it is down, in words; empty when it is not. */
  readonly reason: string
  /** Since when, in wall-clock ms. */
  readonly sinceMs: number
  /** How long the last probe took, in ms. */
  readonly latencyMs: number | undefined
}

/** The values and collaborators that Probes is given. */
export interface ProbesPorts {
  readonly clock: Clock
  readonly random: Random
  /** Looks once. @throws PosternError that says what is wrong */
  readonly check: (row: ProbeRow, signal: AbortSignal) => Promise<void>
  /** A service went up or down. */
  readonly onChange: (health: ServiceHealth) => void
}

/** One row, and how its last looks went. */
class Probe {
  readonly row: ProbeRow
  /** Undefined: not looked yet. */
  isDown: boolean | undefined
  reason = ''
  latencyMs: number | undefined
  /** Results in a row that differ from the state. */
  #against = 0

  constructor(row: ProbeRow) {
    this.row = row
  }

  /** As it was known before. */
  begin({ isDown, reason }: ServiceHealth): void {
    this.isDown = isDown
    this.reason = reason.replace(/^\w+ probe: /, '')
  }

  /** The first result counts at once, a change only after enough in a row. */
  took(reason: string | undefined): void {
    const isBad = reason !== undefined
    if (isBad) this.reason = reason
    if (this.isDown === isBad) {
      this.#against = 0
      return
    }
    const needed = isBad ? this.row.fall : this.row.rise
    if (this.isDown !== undefined && ++this.#against < needed) return
    this.#against = 0
    this.isDown = isBad
  }
}

/**
 * Looks after services at intervals. The next look begins an interval after the last one has ended, so
 * that looks never pile up on a slow target, and with jitter, so that agents do not look in step.
 */
export class Probes {
  readonly #ports: ProbesPorts
  readonly #probes: readonly Probe[]
  readonly #healths = new Map<string, ServiceHealth>()
  readonly #timers = new Map<Probe, CancelTimer>()
  readonly #over = new AbortController()

  constructor(rows: readonly ProbeRow[], ports: ProbesPorts) {
    this.#ports = ports
    this.#probes = rows.map((row) => new Probe(row))
  }

  /** Of every service that is probed and was looked at. */
  get healths(): readonly ServiceHealth[] {
    return [...this.#healths.values()]
  }

  /** Takes over what was known of services that are probed still. */
  keep(healths: readonly ServiceHealth[]): void {
    for (const health of healths) {
      const own = this.#probes.filter(({ row }) => row.service === health.name)
      if (own.length === 0) continue
      this.#healths.set(health.name, health)
      for (const probe of own) probe.begin(health)
    }
  }

  start(): void {
    for (const probe of this.#probes) this.#schedule(probe, this.#jitter(probe))
  }

  stop(): void {
    this.#over.abort()
    for (const cancel of this.#timers.values()) cancel()
  }

  #jitter({ row }: Probe): number {
    return (row.intervalMs * row.jitterPercent * this.#ports.random.fraction()) / 100
  }

  #schedule(probe: Probe, delayMs: number): void {
    const cancel = this.#ports.clock.startTimer(delayMs, () => {
      void this.#probe(probe)
    })
    this.#timers.set(probe, cancel)
  }

  async #probe(probe: Probe): Promise<void> {
    const { clock, check } = this.#ports
    const { row } = probe
    const abort = new AbortController()
    const startMs = clock.nowMs()
    const cancel = clock.startTimer(row.timeoutMs, () => {
      abort.abort()
    })
    let reason: string | undefined
    try {
      await check(row, AbortSignal.any([abort.signal, this.#over.signal]))
    } catch (error) {
      const late = `no answer within ${String(row.timeoutMs / 1000)} s`
      reason = abort.signal.aborted ? late : asPosternError(error).rawMessage
    }
    cancel()
    if (this.#over.signal.aborted) return
    probe.latencyMs = clock.nowMs() - startMs
    probe.took(reason)
    this.#judge(row.service)
    this.#schedule(probe, row.intervalMs + this.#jitter(probe))
  }

  /** A service is down while one of its probes says so. */
  #judge(name: string): void {
    const own = this.#probes.filter(({ row }) => row.service === name)
    const bad = own.find(({ isDown }) => isDown === true)
    const before = this.#healths.get(name)
    const isDown = bad !== undefined
    const health = {
      name,
      isDown,
      reason: bad === undefined ? '' : `${bad.row.type} probe: ${bad.reason}`,
      sinceMs: before?.isDown === isDown ? before.sinceMs : this.#ports.clock.wallMs(),
      latencyMs: (bad ?? own[0])?.latencyMs,
    }
    this.#healths.set(name, health)
    // That a service is up is assumed until it is not.
    if ((before?.isDown ?? false) !== isDown) this.#ports.onChange(health)
  }
}
