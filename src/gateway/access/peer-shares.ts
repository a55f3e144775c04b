import { ByteBudget } from '../../base/byte-budget.ts'
import { PosternError } from '../../base/errors.ts'
import { DEFAULT_MUX_LIMITS } from '../../mux/limits.ts'
import { ResetAllowance } from '../../mux/reset-allowance.ts'

/** Least part of the budget that an identity gets, in bytes: a few sessions. */
const SHARE_BYTES_MIN = 4 * 1024 * 1024
/** Of the resets that one session tolerates: several callers share a tunnel. */
const RESETS_FRACTION = 1 / 4

/** The values and collaborators that PeerShares is given. */
export interface PeerSharesOptions {
  readonly whole: ByteBudget
  /** Of the whole budget, what one identity may use up. */
  readonly fraction: number
  readonly connectionsMax: number
}

/** What one authenticated identity holds, over all its connections. */
export interface PeerShare {
  readonly name: string
  readonly budget: ByteBudget
  readonly resets: ResetAllowance
  connections: number
}

/** Gives every identity a part of the gateway, so that none can take all of it from the others. */
export class PeerShares {
  readonly #options: PeerSharesOptions
  readonly #shares = new Map<string, PeerShare>()

  constructor(options: PeerSharesOptions) {
    this.#options = options
  }

  /** One more connection. @throws HANDSHAKE_LIMIT when the identity has too many */
  enter(name: string): PeerShare {
    const share = this.#shares.get(name) ?? this.#make(name)
    if (share.connections >= this.#options.connectionsMax) {
      const text = `the identity holds ${String(share.connections)} connections already`
      throw new PosternError('HANDSHAKE_LIMIT', text)
    }
    share.connections++
    return share
  }

  leave(share: PeerShare): void {
    share.connections--
    if (share.connections === 0) this.#shares.delete(share.name)
  }

  #make(name: string): PeerShare {
    const { whole, fraction } = this.#options
    const bytes = Math.min(whole.bytesMax, Math.max(SHARE_BYTES_MIN, whole.bytesMax * fraction))
    const { resetsPerSecond, resetsBurst } = DEFAULT_MUX_LIMITS
    const share = {
      name,
      budget: new ByteBudget(bytes, whole),
      resets: new ResetAllowance(resetsPerSecond * RESETS_FRACTION, resetsBurst * RESETS_FRACTION),
      connections: 0,
    }
    this.#shares.set(name, share)
    return share
  }
}
