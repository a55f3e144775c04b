import type { Clock } from '../../base/clock.ts'
import type { FilesLogsRow } from '../logs-row.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import { readCursor, writeCursor } from './cursor.ts'
import { logPath } from './log-path.ts'
import { tailFile } from './tail-file.ts'

/** Logs that are files with rotation. */
export class LogFiles implements LogSource {
  readonly dropsItself = true
  readonly #row: FilesLogsRow
  readonly #clock: Clock

  constructor(row: FilesLogsRow, clock: Clock) {
    this.#row = row
    this.#clock = clock
  }

  async *tail({ labels, cursor, last, follow, drop, signal }: TailWish): AsyncGenerator<LogStep> {
    const path = logPath(this.#row, labels)
    const from = readCursor(cursor, path)
    const { lineBytesMax } = this.#row
    const clock = this.#clock
    const steps = tailFile({ path, lineBytesMax, from, last, follow, drop, clock, signal })
    for await (const step of steps) {
      const { place } = step
      if (step.kind !== 'lines') {
        const { kind, bytes } = step
        yield { kind, bytes, cursor: writeCursor(place, path) }
        continue
      }
      const { lines } = step
      const cursorBehind = (count: number): string => {
        const after = lines.slice(count).reduce((sum, { bytes }) => sum + bytes, 0)
        return writeCursor({ ...place, offset: place.offset - after }, path)
      }
      yield { kind: 'lines', lines, cursorBehind }
    }
  }
}
