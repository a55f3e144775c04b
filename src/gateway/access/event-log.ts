import { LogLimiter } from '../../base/log-limiter.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { networkOf } from '../../transport/peer-address.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import { KeyedRate } from './keyed-rate.ts'
import type { NewEvent, Records } from '../../store/records.ts'

/** Of what peers and strangers cause, this much is written down in all: a flood is in the log, which has its own limit. */
const PER_SECOND = 2
const BURST = 200
/** And of one network, or one identity: nobody fills the record for the others. */
const EACH_PER_SECOND = 1 / 60
const EACH_BURST = 20

/** Writes down what peers caused, at a rate. What operators and the CA do is written with what they do. */
export class EventLog {
  readonly #records: Records
  readonly #ambient: Pick<Ambient, 'clock' | 'logger'>
  readonly #all = new TokenBucket(PER_SECOND, BURST)
  readonly #each = new KeyedRate(EACH_PER_SECOND, EACH_BURST)
  readonly #log: LogLimiter

  constructor(records: Records, ambient: Pick<Ambient, 'clock' | 'logger'>) {
    this.#records = records
    this.#ambient = ambient
    this.#log = new LogLimiter(ambient.logger, ambient.clock)
  }

  /** What has no identity counts for its network. */
  note(event: NewEvent): void {
    const { clock } = this.#ambient
    const nowMs = clock.nowMs()
    const { identity, address } = event
    const who = identity ?? networkOf((address ?? '').replace(/:\d+$/, ''))
    if (!this.#each.spend(who, nowMs) || !this.#all.spend(nowMs)) return
    this.#records.note(event).catch((cause: unknown) => {
      this.#log.warn('EVENT', { err: cause }, 'an event could not be written down')
    })
  }
}
