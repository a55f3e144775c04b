import { PosternError } from '../base/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { FRAME } from './frame.ts'
import type { FrameWriter } from './frame-writer.ts'

/** "PSTN": what the first frame of either side begins with. */
export const MAGIC = 0x5053_544e
/** The versions of docs/PROTOCOL.md that this code speaks. */
export const VERSION_MIN = 1
/** The highest version of the protocol that this build speaks. */
export const VERSION_MAX = 1

/** Feature bit of a side that passes on, or takes, streams of kind `sealed` (PROTOCOL 6.6). */
export const FEATURE_SEALED = 1n
/** Feature bit of a side that reads extras in heads (PROTOCOL 6.7). */
export const FEATURE_EXTRAS = 2n
/** Feature bit of a side that reads HEADERS, and how a caller is known from the extras (PROTOCOL 6.7 and 6.8). */
export const FEATURE_HEADERS = 4n
/** All that this build says in its HELLO. */
export const FEATURES = FEATURE_SEALED | FEATURE_EXTRAS | FEATURE_HEADERS

/** The first frame of either side (PROTOCOL 4). */
export interface Hello {
  readonly versionMin: number
  readonly versionMax: number
  /** Bits; a bit that the receiver does not know is ignored. */
  readonly features: bigint
  /** Streams that the receiver of this frame may hold open at once. */
  readonly streamsMax: number
  /** First limit of the session's data, in bytes. */
  readonly sessionCredit: number
  /** Data that may be sent on a stream that was opened and not yet accepted, in bytes. */
  readonly streamCredit: number
}

/** Writes the HELLO frame that opens a session. */
export function writeHello(writer: FrameWriter, hello: Hello): void {
  writer.begin(FRAME.HELLO, 0, 0)
  writer.u32(MAGIC)
  writer.u16(hello.versionMin)
  writer.u16(hello.versionMax)
  writer.u32(Number(hello.features >> 32n))
  writer.u32(Number(hello.features & 0xffff_ffffn))
  writer.u32(hello.streamsMax)
  writer.u32(hello.sessionCredit)
  writer.u32(hello.streamCredit)
  writer.end()
}

/** Bytes after the known fields belong to later versions and are ignored. @throws PROTOCOL_VIOLATION */
export function readHello(bytes: Buffer, start: number, end: number): Hello {
  const reader = new ByteReader(bytes, start, end, 'HELLO')
  if (reader.u32() !== MAGIC) {
    throw new PosternError('PROTOCOL_VIOLATION', 'the first frame does not begin with PSTN')
  }
  const hello = {
    versionMin: reader.u16(),
    versionMax: reader.u16(),
    features: (BigInt(reader.u32()) << 32n) | BigInt(reader.u32()),
    streamsMax: reader.u32(),
    sessionCredit: reader.u32(),
    streamCredit: reader.u32(),
  }
  if (hello.versionMin > hello.versionMax) {
    throw new PosternError('PROTOCOL_VIOLATION', 'HELLO names an empty range of versions')
  }
  return hello
}

/** The highest version that both speak. @throws VERSION_UNSUPPORTED with both ranges named */
export function chooseVersion(peer: Pick<Hello, 'versionMin' | 'versionMax'>): number {
  const version = Math.min(peer.versionMax, VERSION_MAX)
  if (version >= Math.max(peer.versionMin, VERSION_MIN)) return version
  const range = (min: number, max: number): string => `${String(min)} to ${String(max)}`
  const ours = range(VERSION_MIN, VERSION_MAX)
  const theirs = range(peer.versionMin, peer.versionMax)
  const text = `we speak protocol version ${ours}, the peer ${theirs}`
  throw new PosternError('VERSION_UNSUPPORTED', text, { ours, theirs })
}
