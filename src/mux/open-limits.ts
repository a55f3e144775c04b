import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { AbuseGuard } from './abuse.ts'
import type { MuxLimits } from './limits.ts'
import type { Output } from './output.ts'
import { ResetAllowance } from './reset-allowance.ts'
import type { StreamTable } from './stream-table.ts'

/** Of the peer's limit on resets, so that a few under way cannot cross it. */
const OWN_RESETS = 0.75

/** The values and collaborators that OpenLimits is given. */
export interface OpenLimitsPorts {
  readonly limits: MuxLimits
  readonly table: StreamTable
  readonly output: Output
  readonly abuse: AbuseGuard
}

/** Whether one more stream may be opened on a session, by the peer or by us. */
export class OpenLimits {
  readonly #ports: OpenLimitsPorts
  /** Peers are taken to have the limits that we have: PROTOCOL 9 says what they must grant. */
  readonly #ownResets: ResetAllowance

  constructor(ports: OpenLimitsPorts) {
    this.#ports = ports
    const { resetsPerSecond, resetsBurst } = ports.limits
    this.#ownResets = new ResetAllowance(resetsPerSecond * OWN_RESETS, resetsBurst * OWN_RESETS)
  }

  /** We reset a stream that we had opened. */
  didReset(nowMs: number): void {
    this.#ownResets.didReset(nowMs)
  }

  /** Why a stream that the peer opens is refused, or undefined. */
  refusal(nowMs: number): ErrorCode | undefined {
    const { limits, table, output, abuse } = this.#ports
    if (table.inboundCount >= limits.streamsMax) return 'STREAM_LIMIT'
    if (!abuse.mayOpen(nowMs)) return 'STREAM_LIMIT'
    // The peer does not take our answers: more calls would only pile up more of them.
    return output.calls.length > limits.callBacklogBytesMax ? 'STREAM_LIMIT' : undefined
  }

  /** Judges whether we may open a stream now. @throws STREAM_LIMIT, GOING_AWAY */
  judgeOwn(peerStreamsMax: number, nowMs: number): void {
    const { limits, table, output } = this.#ports
    if (table.outboundCount >= peerStreamsMax)
      throw limit(`the peer allows ${String(peerStreamsMax)} open streams`)
    if (output.calls.length > limits.callBacklogBytesMax)
      throw limit('too many calls wait for the peer to read')
    if (!this.#ownResets.mayOpen(nowMs))
      throw limit('too many calls were cancelled in a short time')
    if (table.isUsedUp)
      throw new PosternError('GOING_AWAY', 'the stream ids of the session are used up')
  }
}

function limit(text: string): PosternError {
  return new PosternError('STREAM_LIMIT', text)
}
