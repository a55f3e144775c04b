/** What a session grants its peer and tolerates of it. Each crossing has a named outcome. */
export interface MuxLimits {
  /** Streams that the peer may hold open. Crossed: REFUSE with STREAM_LIMIT. */
  readonly streamsMax: number
  /** First credit of the session, and the slack kept beyond all stream windows, in bytes. */
  readonly sessionCreditBytes: number
  /** Data taken on a stream before it is accepted, in bytes. */
  readonly streamCreditBytes: number
  /** First receive window of an accepted stream, in bytes. */
  readonly windowBytesMin: number
  /** Largest receive window that a stream may grow to, in bytes. */
  readonly windowBytesMax: number
  /** Largest sum of receive windows on one session, in bytes. */
  readonly sessionWindowBytesMax: number
  /** Encoded opens and answers that wait for the socket. Crossed: new opens are refused. */
  readonly callBacklogBytesMax: number
  /** Encoded control frames that wait for the socket. Crossed: FLOOD. */
  readonly controlBacklogBytesMax: number
  /** Streams opened by the peer per second. Crossed: REFUSE with STREAM_LIMIT. */
  readonly opensPerSecond: number
  /** Streams that the peer opened and reset again, per second. Crossed: FLOOD. */
  readonly resetsPerSecond: number
  readonly resetsBurst: number
  /** PING frames per second. Crossed: FLOOD. */
  readonly pingsPerSecond: number
  /** Frames per second that change nothing: empty DATA, repeated limits, extensions. Crossed: FLOOD. */
  readonly emptyFramesPerSecond: number
  /** Frames per second for streams that are closed already. Crossed: FLOOD. */
  readonly lateFramesPerSecond: number
  /** Time between two PINGs of ours, in ms. */
  readonly pingIntervalMs: number
  /** Longest time without a byte from the peer, in ms. Crossed: PEER_SILENT. */
  readonly silenceMs: number
}

const KIB = 1024
const MIB = 1024 * KIB

/** The limits of a session whose settings name none. */
export const DEFAULT_MUX_LIMITS: MuxLimits = {
  streamsMax: 4096,
  sessionCreditBytes: 256 * KIB,
  streamCreditBytes: 16 * KIB,
  windowBytesMin: 256 * KIB,
  windowBytesMax: 16 * MIB,
  sessionWindowBytesMax: 128 * MIB,
  callBacklogBytesMax: 4 * MIB,
  controlBacklogBytesMax: MIB,
  opensPerSecond: 1_000_000,
  // A full house of calls may be cancelled at once, twice, without a peer being called hostile.
  resetsPerSecond: 2000,
  resetsBurst: 8192,
  pingsPerSecond: 10,
  emptyFramesPerSecond: 1000,
  lateFramesPerSecond: 10_000,
  pingIntervalMs: 10_000,
  silenceMs: 20_000,
}
