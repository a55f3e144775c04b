import { networkInterfaces } from 'node:os'
import type { Clock } from '../../base/clock.ts'

/** The wall clock gains this much on the monotonic one: the machine slept, or its clock was set. */
const GAIN_MS = 5000

/** What the machine went through since it was last looked at. */
export type Wake = 'resumed' | 'network'

/**
 * Tells when waiting any longer makes no sense: the machine resumed from sleep (its monotonic clock,
 * which the back-off counts by, stood still meanwhile), or has come to other addresses.
 */
export class WakeWatch {
  readonly #clock: Clock
  readonly #addresses: () => string
  #gapMs: number
  #seen: string

  constructor(clock: Clock, addresses: () => string = addressesOfMachine) {
    this.#clock = clock
    this.#addresses = addresses
    this.#gapMs = this.#gap()
    this.#seen = addresses()
  }

  check(): Wake | undefined {
    const gapMs = this.#gap()
    const gainedMs = gapMs - this.#gapMs
    this.#gapMs = gapMs
    const addresses = this.#addresses()
    const isElsewhere = addresses !== this.#seen
    this.#seen = addresses
    if (gainedMs >= GAIN_MS) return 'resumed'
    // Without any address there is no way out, and nothing to hurry for.
    return isElsewhere && addresses !== '' ? 'network' : undefined
  }

  #gap(): number {
    return this.#clock.wallMs() - this.#clock.nowMs()
  }
}

/** Link-local ones come and go with every container of the host, and lead nowhere. */
function addressesOfMachine(): string {
  try {
    const all = Object.values(networkInterfaces()).flatMap((of) => of ?? [])
    const routed = all.filter((one) => !one.internal && !/^(fe80:|169\.254\.)/i.test(one.address))
    return routed
      .map(({ address }) => address)
      .sort()
      .join(' ')
  } catch {
    // A sandbox may hide them: the back-off then decides alone.
    return ''
  }
}
