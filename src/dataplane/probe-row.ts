import type { Address } from '../base/address.ts'

/** The types of probe. */
export const PROBE_TYPES = ['tcp', 'http', 'https', 'grpc', 'exec'] as const
/** The type of a probe. */
export type ProbeType = (typeof PROBE_TYPES)[number]

/** One row of the setting `probes`: how one service is looked after. Times are in ms. */
export interface ProbeRow {
  readonly service: string
  readonly type: ProbeType
  /** Undefined: the target of the service. */
  readonly target: Address | undefined
  /** What http and grpc say, they say in plain text, also off this machine. */
  readonly mayBePlain: boolean
  /** Of http and https. */
  readonly path: string
  readonly statusMin: number
  readonly statusMax: number
  /** What the first 64 KiB of the body must match. */
  readonly body: RegExp | undefined
  /** Roots to trust of https, in PEM; undefined: those of the system. */
  readonly caFile: string | undefined
  /** Empty: the server as a whole. */
  readonly grpcService: string
  readonly command: readonly string[]
  readonly intervalMs: number
  readonly timeoutMs: number
  /** So many good results in a row make it up, so many bad ones down. */
  readonly rise: number
  readonly fall: number
  readonly jitterPercent: number
}
