import { ByteBudget } from '../base/byte-budget.ts'
import { TokenBucket } from '../base/token-bucket.ts'

/** Handshakes at a time: of all, of those that come by one tunnel, and of one caller by the word of its gateway. */
const PENDING_MAX = { all: 64, tunnel: 32, caller: 8 } as const
/** A handshake costs about two milliseconds of a core, and whoever can reach a gateway can ask for one. */
const RATES = { all: [50, 200], tunnel: [30, 100], caller: [10, 40] } as const
const SESSIONS_MAX = 1024
/** Of one caller: its clients share one each. */
const CALLER_SESSIONS_MAX = 32
/** Of the bytes of the whole process: all sealed sessions, and those of one caller. */
const ALL_SHARE = 1 / 4
const CALLER_SHARE = 1 / 8
/** Names that are remembered: whoever can name callers can name many. */
const NAMES_MAX = 4096

/** Where a handshake comes from: by which tunnel, and whose it is by the word of the gateway. */
export interface Knock {
  readonly tunnel: string
  readonly caller: string
}

interface Share {
  pending: number
  readonly pendingMax: number
  readonly rate: TokenBucket
}

function share(kind: keyof typeof RATES): Share {
  const [perSecond, burst] = RATES[kind]
  const rate = new TokenBucket(perSecond, burst)
  return { pending: 0, pendingMax: PENDING_MAX[kind], rate }
}

/** How much of the door each may take: nobody's handshakes or sessions keep those of others out. */
export class DoorShares {
  readonly #all = share('all')
  readonly #byName = new Map<string, Share>()
  readonly #bytes: ByteBudget
  readonly #callers = new Map<string, { readonly budget: ByteBudget; sessions: number }>()
  #sessions = 0

  constructor(whole: ByteBudget) {
    this.#bytes = new ByteBudget(whole.bytesMax * ALL_SHARE, whole)
  }

  /** Begins a handshake. Returns how it ends; undefined: there is no room for it now. */
  knock({ tunnel, caller }: Knock, nowMs: number): (() => void) | undefined {
    const shares = [
      this.#named('caller', `${tunnel} ${caller}`),
      this.#named('tunnel', tunnel),
      this.#all,
    ]
    if (this.#sessions >= SESSIONS_MAX) return undefined
    if (shares.some(({ pending, pendingMax }) => pending >= pendingMax)) return undefined
    if (!shares.every(({ rate }) => rate.spend(nowMs))) return undefined
    for (const one of shares) one.pending++
    return () => {
      for (const one of shares) one.pending--
    }
  }

  /** The bytes of a session of a caller whose key was judged, and how it ends; undefined: it has as many as it may. */
  enter(caller: string): { readonly budget: ByteBudget; readonly leave: () => void } | undefined {
    const known = this.#callers.get(caller) ?? {
      budget: new ByteBudget(this.#bytes.bytesMax * (CALLER_SHARE / ALL_SHARE), this.#bytes),
      sessions: 0,
    }
    if (known.sessions >= CALLER_SESSIONS_MAX || this.#sessions >= SESSIONS_MAX) return undefined
    this.#callers.set(caller, known)
    known.sessions++
    this.#sessions++
    return {
      budget: known.budget,
      leave: () => {
        this.#sessions--
        if (--known.sessions === 0) this.#callers.delete(caller)
      },
    }
  }

  #named(kind: 'tunnel' | 'caller', name: string): Share {
    const key = `${kind} ${name}`
    const found = this.#byName.get(key) ?? share(kind)
    if (this.#byName.size >= NAMES_MAX && !this.#byName.has(key))
      for (const [one, { pending }] of this.#byName) if (pending === 0) this.#byName.delete(one)
    this.#byName.set(key, found)
    return found
  }
}
