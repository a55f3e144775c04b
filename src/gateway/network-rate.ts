import { TokenBucket } from '../base/token-bucket.ts'
import { networkOf } from '../transport/handshake-gate.ts'

/** A fleet behind one address gets in, a guesser does not get far. */
const PER_SECOND = 5
const BURST = 50
const NETWORKS_MAX = 10_000

/** A rate of requests for each network: IPv4 address or IPv6 /64. */
export class NetworkRate {
  readonly #buckets = new Map<string, TokenBucket>()

  /** Takes one request; false when the network has had its part. */
  take(address: string, nowMs: number): boolean {
    const network = networkOf(address)
    let bucket = this.#buckets.get(network)
    if (bucket === undefined) {
      if (this.#buckets.size >= NETWORKS_MAX) this.#buckets.clear()
      bucket = new TokenBucket(PER_SECOND, BURST)
      this.#buckets.set(network, bucket)
    }
    return bucket.take(nowMs)
  }
}
