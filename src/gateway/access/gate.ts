import type { CancelTimer } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { Listeners } from '../../base/listeners.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import { Denials } from './denials.ts'
import { EventLog } from './event-log.ts'
import { Records } from '../../store/records.ts'
import { Pruner, type Retention } from './retention.ts'

/** A command's change is in force within this and what a look takes: below a second. */
const POLL_MS = 250

/** Something to look after whenever the store may have changed. */
export type Task = () => Promise<void>

/** Who is let in no more, and whether the store could be asked. */
export interface AccessReport {
  /** Denials in force. */
  readonly denials: number
  /** Why the last look at the store failed; undefined where it did not. */
  readonly storeError: string | undefined
}

/**
 * Opens the store, holds the list of denials in memory, and looks at both again and again, as commands
 * and other gateways write to the same store.
 */
export class Access {
  readonly records: Records
  readonly denials: Denials
  readonly #ambient: Ambient
  readonly #log: LogLimiter
  readonly events: EventLog
  readonly #pruner: Pruner
  /** Why the last look at the store failed; undefined where it did not. */
  storeError: PosternError | undefined
  readonly #tasks: Task[] = []
  /** The list of denials, or the CAs, have changed: everybody who is connected is judged anew. */
  readonly changed = new Listeners()
  #cancelTimer: CancelTimer | undefined
  #isClosed = false

  /** Who is let in no more, and whether the store could be asked. */
  report(): AccessReport {
    return { denials: this.denials.rows.length, storeError: this.storeError?.rawMessage }
  }

  private constructor(records: Records, retention: Retention, ambient: Ambient) {
    this.records = records
    this.events = new EventLog(records, ambient)
    this.#pruner = new Pruner(records, retention)
    this.denials = new Denials(records)
    this.#ambient = ambient
    this.#log = new LogLimiter(ambient.logger, ambient.clock)
  }

  /** Judges whether the settings name what the gate needs. @throws CONFIG_INVALID where they need a store, and name none */
  static judge(settings: GatewaySettings): void {
    if (settings['records.file'] !== undefined || settings['ca.directory'] === undefined) return
    const text = 'records.file is missing: ca.directory needs a store'
    throw new PosternError('CONFIG_INVALID', text)
  }

  /** Opens the store of the settings; undefined where they name none. @throws CONFIG_INVALID, RECORDS_UNUSABLE */
  static async ofSettings(
    settings: GatewaySettings,
    ambient: Ambient,
  ): Promise<Access | undefined> {
    Access.judge(settings)
    const file = settings['records.file']
    if (file === undefined) return undefined
    const retention = {
      eventsKeepMs: settings['records.eventsKeep'],
      eventsMax: settings['records.eventsMax'],
      clustersKeepMs: settings['records.clustersKeep'],
      certificatesKeepMs: Math.max(
        settings['records.certificatesKeep'],
        settings['enroll.expiredGrace'],
      ),
    }
    return await Access.open(file, retention, ambient)
  }

  /** Opens the gate over the store in a file. @throws RECORDS_UNUSABLE */
  static async open(file: string, retention: Retention, ambient: Ambient): Promise<Access> {
    const access = new Access(await Records.open(file, ambient.onQuery), retention, ambient)
    await access.denials.refresh()
    return access
  }

  /** Done at every look, one after another. */
  addTask(task: Task): void {
    this.#tasks.push(task)
  }

  /** Begins to look. */
  start(): void {
    this.#cancelTimer = this.#ambient.clock.startTimer(POLL_MS, () => {
      this.refresh().then(
        () => {
          if (!this.#isClosed) this.start()
        },
        () => undefined,
      )
    })
  }

  /** One look at the store. */
  async refresh(): Promise<void> {
    const changed = async (): Promise<void> => {
      if (await this.denials.refresh()) this.changed.tell()
    }
    const pruned = async (): Promise<void> => {
      await this.#pruner.prune(this.#ambient.clock.wallMs())
    }
    let failure: PosternError | undefined
    for (const task of [changed, ...this.#tasks, pruned]) {
      if (this.#isClosed) return
      try {
        await task()
      } catch (error) {
        // What was known stays in force.
        failure ??= asPosternError(error)
        this.#log.warn('STORE', { err: error }, 'the store could not be looked at')
      }
    }
    this.storeError = failure
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelTimer?.()
    await this.records.close()
  }
}
