import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const NAME = /^record-(\d{8})\.jsonl$/

/** One file of a record. */
export interface Segment {
  readonly number: number
  readonly name: string
  readonly path: string
  readonly bytes: number
  /** When it was last written, in wall-clock ms. */
  readonly writtenAtMs: number
}

/** Returns the name of the file with a number. */
export function segmentName(number: number): string {
  return `record-${String(number).padStart(8, '0')}.jsonl`
}

/** Lists the files of a record, the oldest first. Other files of the folder are not looked at. Empty where there is no such folder. */
export function listSegments(directory: string): readonly Segment[] {
  let names: readonly string[]
  try {
    names = readdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return names
    .flatMap((name) => {
      const number = NAME.exec(name)?.[1]
      if (number === undefined) return []
      const path = join(directory, name)
      const { size, mtimeMs } = statSync(path)
      return [{ number: Number(number), name, path, bytes: size, writtenAtMs: mtimeMs }]
    })
    .sort((a, b) => a.number - b.number)
}
