/** A time window of a rule, in one time zone. */
export interface Hours {
  /** Days of the week that it is open on; 0 is Sunday. */
  readonly days: ReadonlySet<number>
  /** Minutes since midnight; where `to` is not after `from`, it ends on the next day. */
  readonly from: number
  readonly to: number
  /** IANA name, such as Europe/Dublin. */
  readonly zone: string
}

const DAY_NAMES = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
const MINUTE_MS = 60_000

/** Reads "mon-fri", "sat,sun", "mon"; undefined for anything else. */
export function readDays(text: string): ReadonlySet<number> | undefined {
  const days = new Set<number>()
  for (const part of text.toLowerCase().split(',')) {
    const [first = '', last = first, ...rest] = part.trim().split('-')
    const from = DAY_NAMES.findIndex((name) => name === first)
    const to = DAY_NAMES.findIndex((name) => name === last)
    if (from < 0 || to < 0 || rest.length > 0) return undefined
    for (let day = from; ; day = (day + 1) % 7) {
      days.add(day)
      if (day === to) break
    }
  }
  return days
}

/** Reads "08:00" to "24:00" as minutes since midnight; undefined for anything else. */
export function readTimeOfDay(text: string): number | undefined {
  const [, hours = '', minutes = ''] = /^([01]\d|2[0-4]):([0-5]\d)$/.exec(text) ?? []
  if (hours === '') return undefined
  const found = Number(hours) * 60 + Number(minutes)
  return found <= 24 * 60 ? found : undefined
}

/** Whether this system knows a time zone. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: zone })
    return true
  } catch {
    // It throws for a name that it does not know.
    return false
  }
}

/** Tells whether windows are open; what it worked out holds for the rest of the minute. */
export class HoursClock {
  readonly #formats = new Map<string, Intl.DateTimeFormat>()
  readonly #known = new Map<string, { readonly minute: number; day: number; at: number }>()

  isOpen(hours: Hours, wallMs: number): boolean {
    const { day, at } = this.#local(hours.zone, wallMs)
    const { from, to, days } = hours
    if (from < to) return days.has(day) && at >= from && at < to
    return (days.has(day) && at >= from) || (days.has((day + 6) % 7) && at < to)
  }

  #local(zone: string, wallMs: number): { day: number; at: number } {
    const minute = Math.floor(wallMs / MINUTE_MS)
    const known = this.#known.get(zone)
    if (known?.minute === minute) return known
    let format = this.#formats.get(zone)
    if (format === undefined) {
      format = new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        weekday: 'short',
        hour: '2-digit',
        minute: '2-digit',
        hourCycle: 'h23',
      })
      this.#formats.set(zone, format)
    }
    const parts = Object.fromEntries(
      format.formatToParts(wallMs).map(({ type, value }) => [type, value]),
    )
    const day = DAY_NAMES.findIndex((name) => name === parts.weekday?.toLowerCase())
    const found = { minute, day, at: Number(parts.hour) * 60 + Number(parts.minute) }
    this.#known.set(zone, found)
    return found
  }
}

/** By how much the wall clock may stray from the monotonic one, in ms and as a share of the time between two looks. */
const STRAY_MS_MAX = 2000
const STRAY_SHARE_MAX = 0.001

/** Watches the wall clock against the monotonic one: after a jump, windows stay shut until an operator says that the time is right. */
export class ClockWatch {
  #offsetMs: number | undefined
  #lookedAtMs = 0
  #hasJumped = false

  /** Looks at both clocks; to be called often. Returns whether the wall clock can be believed. */
  look(nowMs: number, wallMs: number): boolean {
    const offsetMs = wallMs - nowMs
    if (this.#offsetMs !== undefined) {
      const mayStray = STRAY_MS_MAX + (nowMs - this.#lookedAtMs) * STRAY_SHARE_MAX
      if (Math.abs(offsetMs - this.#offsetMs) > mayStray) this.#hasJumped = true
    }
    this.#offsetMs = offsetMs
    this.#lookedAtMs = nowMs
    return !this.#hasJumped
  }

  get hasJumped(): boolean {
    return this.#hasJumped
  }

  /** The operator has read the policy anew, or started the agent: the time is taken for right. */
  trust(): void {
    this.#hasJumped = false
    this.#offsetMs = undefined
  }
}
