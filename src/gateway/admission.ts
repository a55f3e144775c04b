import type { CancelTimer } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import { identityUri } from '../identity/name.ts'
import type { TlsFacts } from '../transport/tls-wire.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import { credentialsOf, Denials } from './denials.ts'
import { EventLog } from './event-log.ts'
import { Records } from './records/records.ts'
import { Pruner, type Retention } from './retention.ts'

/** A command's change is in force within this and what a look takes: below a second. */
const POLL_MS = 250

/** Something to look after whenever the store may have changed. */
export type Task = () => Promise<void>

/**
 * The gateway's store and who it lets in: the list of denials is loaded before anybody can knock, and
 * looked at again and again, as commands and other gateways write to the same store.
 */
export class Admission {
  readonly records: Records
  readonly denials: Denials
  readonly #ambient: Ambient
  readonly #log: LogLimiter
  readonly events: EventLog
  readonly #pruner: Pruner
  /** Why the last look at the store failed; undefined where it did not. */
  storeError: PosternError | undefined
  readonly #tasks: Task[] = []
  readonly #sweeps: (() => void)[] = []
  /** Says which issuers' certificates are let in no more, where there is a CA. */
  isRetiredIssuer: (issuer: string) => boolean = () => false
  #cancelTimer: CancelTimer | undefined
  #isClosed = false

  private constructor(records: Records, retention: Retention, ambient: Ambient) {
    this.records = records
    this.events = new EventLog(records, ambient)
    this.#pruner = new Pruner(records, retention)
    this.denials = new Denials(records)
    this.#ambient = ambient
    this.#log = new LogLimiter(ambient.logger, ambient.clock)
  }

  /** @throws RECORDS_UNUSABLE */
  static async open(file: string, retention: Retention, ambient: Ambient): Promise<Admission> {
    const admission = new Admission(await Records.open(file, ambient.onQuery), retention, ambient)
    await admission.denials.refresh()
    return admission
  }

  /** Why a peer is not let in, or undefined. */
  judge({ certificate, identity }: TlsFacts): PosternError | undefined {
    const credentials = credentialsOf(certificate, identity)
    const denial = this.denials.judge(credentials)
    if (denial !== undefined || !this.isRetiredIssuer(credentials.issuer)) return denial
    return new PosternError('CA_RETIRED', 'the CA that issued the certificate is retired')
  }

  /** Writes down what happened to a peer; of a flood of them the first ones. */
  note(kind: string, { identity, address, certificate }: TlsFacts, detail: string): void {
    const uri = identityUri(identity)
    const { serial } = credentialsOf(certificate, identity)
    const at = this.#ambient.clock.wallMs()
    this.events.note({ at, kind, actor: uri, identity: uri, serial, address, detail })
  }

  /** Judges everybody who is connected; called whenever the list has changed. */
  onChange(sweep: () => void): void {
    this.#sweeps.push(sweep)
  }

  sweep(): void {
    for (const sweep of this.#sweeps) sweep()
  }

  /** Done at every look, one after another. */
  addTask(task: Task): void {
    this.#tasks.push(task)
  }

  /** Begins to look. */
  start(): void {
    this.#cancelTimer = this.#ambient.clock.startTimer(POLL_MS, () => {
      this.look().then(
        () => {
          if (!this.#isClosed) this.start()
        },
        () => undefined,
      )
    })
  }

  /** One look at the store. */
  async look(): Promise<void> {
    const changed = async (): Promise<void> => {
      if (await this.denials.refresh()) this.sweep()
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
