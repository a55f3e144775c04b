import { execFile } from 'node:child_process'
import type { CancelTimer, Clock } from '../../base/clock.ts'
import { every } from '../../base/every.ts'
import type { Logger } from '../../base/logger.ts'

const PROGRAM = 'systemd-notify'
const NOTIFY_MS_MAX = 5000
/** systemd wants to hear from us twice in its watchdog time. */
const FEEDS_PER_WATCHDOG = 3
const LOOK_MS = 500
const STATE = /^(READY|RELOADING|STOPPING)=/

type Environment = Readonly<Record<string, string | undefined>>

/** What a daemon tells systemd of itself. */
export interface DaemonState {
  /** What depends on this unit may go on. */
  readonly isReady: boolean
  /** Not stuck: the watchdog is fed. */
  readonly isAlive: boolean
  /** One line for systemctl status. */
  readonly text: string
}

/** The values and collaborators that SystemdNotify is given. */
export interface SystemdNotifyPorts {
  readonly environment: Environment
  readonly clock: Clock
  readonly logger: Logger
  readonly state: () => DaemonState
  /** READY is said after this at the latest, with the reason in STATUS; in ms. */
  readonly startMs: number
}

/**
 * Speaks to systemd (sd_notify(3)) where it asks for it: READY, STATUS, RELOADING, STOPPING and the
 * watchdog. The words are sent by `systemd-notify`, as Node cannot open a datagram socket of that kind.
 */
export class SystemdNotify {
  readonly #ports: SystemdNotifyPorts
  readonly #isWanted: boolean
  readonly #watchdogMs: number
  readonly #startedAtMs: number
  #isReady = false
  #text = ''
  #last: Promise<void> = Promise.resolve()
  #fedAtMs = 0
  #cancelTimer: CancelTimer | undefined

  constructor(ports: SystemdNotifyPorts) {
    this.#ports = ports
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdog } = ports.environment
    this.#isWanted = socket !== undefined && socket !== ''
    this.#watchdogMs = Number(watchdog ?? 0) / 1000
    this.#startedAtMs = ports.clock.nowMs()
  }

  /** Begins to look at the daemon. */
  start(): void {
    if (!this.#isWanted) return
    const report = (): void => {
      this.#report()
    }
    this.#cancelTimer = every(this.#ports.clock, () => LOOK_MS, report)
    report()
  }

  /** A reload begins; reloaded() says that it has ended. */
  reloading(): void {
    this.#send('RELOADING=1')
  }

  reloaded(): void {
    this.#send('READY=1')
  }

  stopping(): void {
    this.#cancelTimer?.()
    this.#send('STOPPING=1', 'STATUS=draining: running calls may finish')
  }

  #report(): void {
    const { clock, state, startMs } = this.#ports
    const nowMs = clock.nowMs()
    const { isReady, isAlive, text } = state()
    const words: string[] = []
    if (!this.#isReady && (isReady || nowMs - this.#startedAtMs >= startMs)) {
      this.#isReady = true
      words.push('READY=1')
    }
    if (text !== this.#text) words.push(`STATUS=${text.replaceAll('\n', ' ')}`)
    const isDue =
      this.#watchdogMs > 0 && nowMs - this.#fedAtMs >= this.#watchdogMs / FEEDS_PER_WATCHDOG
    if (isAlive && isDue) {
      this.#fedAtMs = nowMs
      words.push('WATCHDOG=1')
    }
    this.#text = text
    if (words.length > 0) this.#send(...words)
  }

  #send(...words: string[]): void {
    if (!this.#isWanted) return
    const { NOTIFY_SOCKET, PATH } = this.#ports.environment
    const env = { NOTIFY_SOCKET, PATH, MAINPID: String(process.pid) }
    const args = [`--pid=${String(process.pid)}`, ...words]
    const send = (): Promise<void> =>
      new Promise((resolve) => {
        execFile(PROGRAM, args, { env, timeout: NOTIFY_MS_MAX }, (error) => {
          if (error !== null)
            this.#ports.logger.warn({ reason: error.message }, 'systemd could not be told')
          resolve()
        })
      })
    // A word on the state that overtakes the one before it would say the opposite.
    if (words.some((word) => STATE.test(word))) this.#last = this.#last.then(send)
    else void send()
  }
}
