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
}

/** Reads a record line by line, the oldest file first. @throws FILE_UNREADABLE */
export async function* readRecord(directory: string): AsyncGenerator<PlacedLine, undefined> {
  for (const segment of segmentsOf(directory)) yield* readSegment(segment)
}

function segmentsOf(directory: string): readonly Segment[] {
  try {
    return listSegments(directory)
  } catch (error) {
    throw unreadable(directory, error)
  }
}

async function* readSegment(segment: Segment): AsyncGenerator<PlacedLine, undefined> {
  let line = 0
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of createReadStream(segment.path) as AsyncIterable<Buffer>) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      let start = 0
      for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
        yield { segment, line: ++line, bytes: bytes.subarray(start, end), isWhole: true }
        start = end + 1
      }
      rest = bytes.subarray(start)
      if (rest.length > LINE_BYTES_MAX) {
        // It is no line of ours: it is told once, and the file is read no further.
        yield { segment, line: ++line, bytes: rest, isWhole: false }
        return
      }
    }
  } catch (error) {
    throw unreadable(segment.path, error)
  }
  if (rest.length > 0) yield { segment, line: line + 1, bytes: rest, isWhole: false }
}

function unreadable(path: string, error: unknown): PosternError {
  const text = `${path}: ${(error as Error).message}`
  return new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
}
