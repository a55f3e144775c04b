import type { ByteBudget } from '../../base/byte-budget.ts'
import type { CancelTimer } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import type { CallKind } from '../../contract/call-guard.ts'
import type { Identity } from '../../identity/name.ts'
import { refuseStreams } from '../../mux/session-owner.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { loopback } from '../../tunnel/loopback-wire.ts'
import { RpcConnection, type PeerWire, type ProcessParts } from '../../tunnel/rpc-connection.ts'
import type { KnownCaller } from '../roles/roles.ts'

/** How long a line that nobody uses is kept, in ms. */
const KEPT_MS = 30_000

/** The side of callers, as those see it who come by another way. */
export interface CallersDoor {
  /** Takes a connection within this process. @throws HANDSHAKE_LIMIT, BUDGET_EXHAUSTED */
  acceptKnown(wire: PeerWire, who: KnownCaller): ByteBudget
  /** Names of the gateway's own methods. */
  readonly ownMethods: string[]
  /** How a method of the gateway's own is called; undefined: it has none of that name. */
  ownKind(method: string): Exclude<CallKind, 'forward'> | undefined
}

/** The way of one caller into the side of callers, as if it had dialled it. */
export interface Line {
  readonly connection: RpcConnection
  readonly budget: ByteBudget
}

interface Kept {
  readonly line: Promise<Line>
  uses: number
  cancelEnd: CancelTimer | undefined
}

/** The values and collaborators that CallerLines is given. */
export interface CallerLinesPorts {
  readonly parts: ProcessParts
  readonly identity: Identity
  readonly callers: CallersDoor
}

/** Lines of those who call over HTTP: one for each caller, by which every call of it goes the way that all calls go. */
export class CallerLines {
  readonly #ports: CallerLinesPorts
  readonly #kept = new Map<string, Kept>()

  constructor(ports: CallerLinesPorts) {
    this.#ports = ports
  }

  /** How many callers there are. */
  get count(): number {
    return this.#kept.size
  }

  /** Lets `use` have the line of a caller, which is made where there is none. @throws RpcError, and what `use` throws */
  async using(who: KnownCaller, use: (line: Line) => Promise<void>): Promise<void> {
    const key = JSON.stringify([who.issuer, who.caller, who.region, who.groups])
    const kept = this.#kept.get(key) ?? this.#make(key, who)
    kept.uses++
    kept.cancelEnd?.()
    try {
      await use(await kept.line)
    } finally {
      kept.uses--
      if (kept.uses === 0) this.#endSoon(key, kept)
    }
  }

  /** Ends all lines. */
  close(): void {
    for (const [key, kept] of [...this.#kept]) this.#end(key, kept)
  }

  #make(key: string, who: KnownCaller): Kept {
    const line = Promise.withResolvers<Line>()
    const kept: Kept = { line: line.promise, uses: 0, cancelEnd: undefined }
    this.#kept.set(key, kept)
    line.promise.catch(() => {
      this.#forget(key, kept)
    })
    try {
      this.#connect(who, line, () => {
        this.#forget(key, kept)
      })
    } catch (error) {
      line.reject(error)
    }
    return kept
  }

  /** @throws HANDSHAKE_LIMIT, BUDGET_EXHAUSTED */
  #connect(who: KnownCaller, line: PromiseWithResolvers<Line>, onClosed: () => void): void {
    const { parts, identity, callers } = this.#ports
    const [near, far] = loopback(parts.runtime.clock, identity)
    const budget = callers.acceptKnown(far, who)
    const own = { ...parts, budget }
    new RpcConnection(near, 'dialer', own, {
      onReady: (connection) => {
        line.resolve({ connection, budget })
      },
      streams: refuseStreams('callers serve nothing'),
      onClosed: (_connection, { code, rawMessage }) => {
        line.reject(rpcErrorOfCode(code, rawMessage, true))
        onClosed()
      },
    })
  }

  #endSoon(key: string, kept: Kept): void {
    const { clock } = this.#ports.parts.runtime
    kept.cancelEnd = clock.startTimer(KEPT_MS, () => {
      if (kept.uses === 0) this.#end(key, kept)
    })
  }

  #end(key: string, kept: Kept): void {
    this.#forget(key, kept)
    kept.line.then(
      ({ connection }) => {
        connection.close(new PosternError('SHUTDOWN', 'nobody uses it'))
      },
      () => undefined,
    )
  }

  /** Another line may stand under the key by now. */
  #forget(key: string, kept: Kept): void {
    if (this.#kept.get(key) !== kept) return
    kept.cancelEnd?.()
    this.#kept.delete(key)
  }
}
