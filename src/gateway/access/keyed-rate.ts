import { TokenBucket } from '../../base/token-bucket.ts'
import { networkOf } from '../../transport/peer-address.ts'

/** Of requests that are refused, or still under way: a fleet gets in, a guesser does not get far. */
const PER_SECOND = 5
const BURST = 50
const KEYS_MAX = 10_000

/** A rate of requests for each of many keys, such as networks or tokens. */
export class KeyedRate {
  readonly #buckets = new Map<string, TokenBucket>()
  readonly #perSecond: number
  readonly #burst: number

  constructor(perSecond = PER_SECOND, burst = BURST) {
    this.#perSecond = perSecond
    this.#burst = burst
  }

  /** Takes one request; false when the key has had its part. */
  spend(key: string, nowMs: number): boolean {
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      if (this.#buckets.size >= KEYS_MAX) this.#buckets.clear()
      bucket = new TokenBucket(this.#perSecond, this.#burst)
      this.#buckets.set(key, bucket)
    }
    return bucket.spend(nowMs)
  }

  /** What was asked for was granted: it counts against nobody. */
  give(key: string): void {
    this.#buckets.get(key)?.give()
  }
}

/** The same for networks: IPv4 address or IPv6 /64. */
export class NetworkRate {
  readonly #rate: KeyedRate

  constructor(perSecond = PER_SECOND, burst = BURST) {
    this.#rate = new KeyedRate(perSecond, burst)
  }

  take(address: string, nowMs: number): boolean {
    return this.#rate.spend(networkOf(address), nowMs)
  }

  give(address: string): void {
    this.#rate.give(networkOf(address))
  }
}
