import { createReadStream } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import { listSegments, type Segment } from './segments.ts'

/** More than any line of ours has. */
const LINE_BYTES_MAX = 256 * 1024

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

/** Reads a record line by line, the oldest file first; `from`: not what is before. @throws FILE_UNREADABLE */
export async function* readRecord(
  directory: string,
  from: Position = { segment: 0, offset: 0 },
): AsyncGenerator<PlacedLine, undefined> {
  for (const segment of segmentsOf(directory)) {
    if (segment.number < from.segment) continue
    const offset = segment.number === from.segment ? from.offset : 0
    if (offset < segment.bytes) yield* readSegment(segment, offset)
  }
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
): AsyncGenerator<PlacedLine, undefined> {
  let line = 0
  let next = offset
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of createReadStream(segment.path, {
      start: offset,
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
