import { closeSync, createReadStream, openSync, readSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { pause } from '../base/pause.ts'
import { listSegments, type Segment } from './segments.ts'

/** More than any line of ours has. */
const LINE_BYTES_MAX = 256 * 1024
const LOOKS = 20
const LOOK_MS = 25

/** One line of a record, and where it stands. */
export interface PlacedLine {
  readonly segment: Segment
  /** In its file, from 1. */
  readonly line: number
  /** Without its line feed. */
  readonly bytes: Buffer
  /** False for what stands behind the last line feed of a file. */
  readonly isWhole: boolean
  /** Where the next line of its file begins. */
  readonly next: number
}

/** Where to read on. */
export interface Position {
  readonly segment: number
  readonly offset: number
}

/** Reads a record line by line, the oldest file first; not what is before `from`, nor from `to` on. @throws FILE_UNREADABLE */
export async function* readRecord(
  directory: string,
  from: Position = { segment: 0, offset: 0 },
  to: Position = { segment: Infinity, offset: Infinity },
): AsyncGenerator<PlacedLine, undefined> {
  for (const segment of segmentsOf(directory)) {
    if (segment.number < from.segment || segment.number > to.segment) continue
    const offset = segment.number === from.segment ? from.offset : 0
    const end = segment.number === to.segment ? to.offset : Infinity
    if (offset < Math.min(segment.bytes, end)) yield* readSegment(segment, offset, end)
  }
}

/** More than the line has that ends a batch, or a checkpoint. */
const LAST_LINE_BYTES = 4096
/** What a writer ends each of its writes with. */
const END = /(?:^|\n)\{"(?:batch|checkpoint)":\{[^\n]*\}\n$/

/**
 * Returns where a record ends, once its writer is not within a batch: a file system shows what it has taken of one. What is
 * within one for half a second was cut off there. Undefined: there is no record. @throws FILE_UNREADABLE
 */
export async function settledEnd(directory: string, clock: Clock): Promise<Position | undefined> {
  for (let look = 1; ; look++) {
    const last = segmentsOf(directory).at(-1)
    if (last === undefined) return undefined
    if (look === LOOKS || isBetweenBatches(last))
      return { segment: last.number, offset: last.bytes }
    await pause(clock, LOOK_MS)
  }
}

function isBetweenBatches({ path, bytes }: Segment): boolean {
  const piece = Buffer.alloc(Math.min(bytes, LAST_LINE_BYTES))
  try {
    const file = openSync(path, 'r')
    try {
      readSync(file, piece, 0, piece.length, bytes - piece.length)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    throw unreadable(path, error)
  }
  return END.test(piece.toString('latin1'))
}

function segmentsOf(directory: string): readonly Segment[] {
  try {
    return listSegments(directory)
  } catch (error) {
    throw unreadable(directory, error)
  }
}

async function* readSegment(
  segment: Segment,
  offset: number,
  end: number,
): AsyncGenerator<PlacedLine, undefined> {
  let line = 0
  let next = offset
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of createReadStream(segment.path, {
      start: offset,
      // Its last byte: the option is inclusive.
      end: end - 1,
    }) as AsyncIterable<Buffer>) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      let start = 0
      for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
        next += end + 1 - start
        yield { segment, line: ++line, bytes: bytes.subarray(start, end), isWhole: true, next }
        start = end + 1
      }
      rest = bytes.subarray(start)
      if (rest.length > LINE_BYTES_MAX) {
        // It is no line of ours: it is told once, and the file is read no further.
        yield { segment, line: ++line, bytes: rest, isWhole: false, next }
        return
      }
    }
  } catch (error) {
    throw unreadable(segment.path, error)
  }
  if (rest.length > 0) yield { segment, line: line + 1, bytes: rest, isWhole: false, next }
}

function unreadable(path: string, error: unknown): PosternError {
  const text = `${path}: ${(error as Error).message}`
  return new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
}
