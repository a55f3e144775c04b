import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { LineSplitter, type LogLine } from '../log-lines.ts'
import { isOf, listLog, markOf, openLog, type LogFile, type LogPlace } from './list-log.ts'
import type { OpenLog } from './open-log.ts'

const PIECE_BYTES = 64 * 1024
const LOOK_MS = 200
/** A caller who lets lines be dropped is never further behind than this. */
const BEHIND_BYTES_MAX = 1024 * 1024

/** Lines, and the place behind them; or something that stands between lines. */
export type TailStep =
  | { readonly kind: 'lines'; readonly lines: readonly LogLine[]; readonly place: LogPlace }
  | { readonly kind: 'gap' | 'dropped'; readonly bytes: number; readonly place: LogPlace }

/** How a log is read. */
export interface TailOptions {
  readonly path: string
  readonly lineBytesMax: number
  /** Undefined: from the beginning, or the last lines. */
  readonly from: LogPlace | undefined
  readonly last: number
  readonly follow: boolean
  readonly drop: boolean
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** Reads a log over its rotations, piece by piece, no faster than it is asked to. Ends with the log, or, where it follows, with the signal. */
export async function* tailFile(options: TailOptions): AsyncGenerator<TailStep, void> {
  const { path, from, clock, signal, follow, last } = options
  let files = await listLog(path)
  let at: Spot = { index: 0, offset: 0 }
  if (from !== undefined) {
    const found = await find(files, from)
    at = found ?? at
    // Where it was, nothing is any more: all that is left comes after it.
    if (found === undefined) yield { kind: 'gap', bytes: 0, place: from }
  } else if (last > 0) at = await lastLines(files, last)
  while (!signal.aborted) {
    const isPresent = at.index === files.length - 1
    const next = yield* readAt(files[at.index], at.offset, isPresent, options)
    if (isPresent && !follow) return
    files = await listLog(path)
    if (next === undefined) {
      // There is none yet, or it went while it was looked for.
      if (isPresent) await pause(clock, LOOK_MS, signal)
      at = {
        index: isPresent ? files.length - 1 : Math.min(at.index + 1, files.length - 1),
        offset: 0,
      }
      continue
    }
    // Rotation has moved them since.
    const found = await find(files, next)
    if (found === undefined) {
      yield { kind: 'gap', bytes: 0, place: next }
      at = { index: isPresent ? files.length - 1 : 0, offset: 0 }
    } else if (isPresent || found.index === files.length - 1) at = found
    else at = { index: found.index + 1, offset: 0 }
  }
}

/** A file of a list, and how far it was read. */
interface Spot {
  readonly index: number
  readonly offset: number
}

async function* readAt(
  file: LogFile | undefined,
  offset: number,
  isPresent: boolean,
  options: TailOptions,
): AsyncGenerator<TailStep, LogPlace | undefined> {
  const open = file === undefined ? undefined : await openLog(file)
  if (open === undefined) return undefined
  try {
    return yield* readOne(open, offset, isPresent, options)
  } finally {
    await open.close()
  }
}

/** Reads one file to its end; the present one for as long as it is that. Returns where it has come to. */
async function* readOne(
  file: OpenLog,
  start: number,
  isPresent: boolean,
  options: TailOptions,
): AsyncGenerator<TailStep, LogPlace> {
  const { path, clock, signal, follow, drop } = options
  const splitter = new LineSplitter(options.lineBytesMax)
  const piece = Buffer.alloc(PIECE_BYTES)
  let place = await placeAt(file, start)
  let offset = start
  // Whoever says where to begin may say the middle of a line: it is told from the next one on.
  if (start > 0) {
    splitter.skipLine()
    offset--
  }
  while (!signal.aborted) {
    const size = await file.size()
    if (drop && size - offset > BEHIND_BYTES_MAX) {
      const bytes = size - BEHIND_BYTES_MAX - offset
      offset += bytes
      splitter.skipLine()
      place = await placeAt(file, offset)
      yield { kind: 'dropped', bytes, place }
      continue
    }
    // Cut off behind our back: what was in it may lie in a copy.
    if (size < Math.max(offset, place.offset) || !(await isOf(file, { ...place, offset: 0 })))
      return place
    const read = await file.read(piece, offset)
    if (read > 0) {
      const lines = splitter.push(piece.subarray(0, read))
      offset += read
      if (lines.length === 0) continue
      place = await placeAt(file, offset - splitter.openBytes)
      yield { kind: 'lines', lines, place }
      continue
    }
    if (!isPresent || !follow) break
    await pause(clock, LOOK_MS, signal)
    if (!(await isPresentFile(path, file)) && (await file.size()) <= offset) break
  }
  return place
}

async function placeAt(file: OpenLog, offset: number): Promise<LogPlace> {
  return { inode: file.inode, offset, ...(await markOf(file)) }
}

async function isPresentFile(path: string, file: OpenLog): Promise<boolean> {
  const now = await openLog({ path, isPacked: false, mtimeMs: 0 })
  if (now === undefined) return false
  await now.close()
  return now.inode === file.inode
}

/** The file that a place is in: the very one, or else a copy of it. */
async function find(files: readonly LogFile[], place: LogPlace): Promise<Spot | undefined> {
  let copy: Spot | undefined
  for (let index = files.length - 1; index >= 0; index--) {
    const file = files[index]
    const open = file === undefined ? undefined : await openLog(file)
    if (open === undefined) continue
    try {
      if (!(await isOf(open, place))) continue
      if (open.inode === place.inode) return { index, offset: place.offset }
      copy ??= { index, offset: place.offset }
    } finally {
      await open.close()
    }
  }
  return copy
}

/** Where the last so many lines of the present file begin; an older one is not looked into for more. */
async function lastLines(files: readonly LogFile[], count: number): Promise<Spot> {
  const index = files.length - 1
  const file = files[index]
  const open = file === undefined ? undefined : await openLog(file)
  if (open === undefined) return { index, offset: 0 }
  try {
    const size = await open.size()
    let [end, found] = [size, 0]
    const piece = Buffer.alloc(PIECE_BYTES)
    while (end > 0) {
      const from = Math.max(0, end - PIECE_BYTES)
      const bytes = piece.subarray(0, await open.read(piece.subarray(0, end - from), from))
      for (
        let at = bytes.lastIndexOf(0x0a);
        at !== -1;
        at = at === 0 ? -1 : bytes.lastIndexOf(0x0a, at - 1)
      )
        // The end of the last line is none between two.
        if (from + at !== size - 1 && ++found === count) return { index, offset: from + at + 1 }
      end = from
    }
    return { index, offset: 0 }
  } finally {
    await open.close()
  }
}
