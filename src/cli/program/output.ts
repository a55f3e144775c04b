import { printable, visible } from '../../base/errors.ts'

const IO_FAILED = 74

/**
 * Who reads our output may have enough of it, which ends us in silence, as SIGPIPE would; output that cannot be
 * written, as on a full disk, is told.
 */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') {
    const why = error.code === 'ENOSPC' ? 'the disk is full' : error.message
    process.stderr.write(`[STATE_UNWRITABLE] the output cannot be written: ${why}\n`)
  }
  process.exit(error.code === 'EPIPE' ? 0 : IO_FAILED)
}
process.stdout.on('error', onOutputError)
process.stderr.on('error', () => undefined)

/** Where a command writes: results to stdout, everything else to stderr. Injected for tests. */
export interface Output {
  result(text: string): void
  note(text: string): void
}

/** Writes results to stdout and notes to stderr. */
export const processOutput: Output = {
  result: (text) => {
    process.stdout.write(`${visible(text)}\n`)
  },
  note: (text) => {
    process.stderr.write(`${visible(text)}\n`)
  },
}

/** Columns aligned by their widest cell. What came from outside cannot steer the terminal. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? '').length)),
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => printable(cell).padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return all.map(line).join('\n')
}

const BYTES_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** Returns a number of bytes as people read it. */
export function humanBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < BYTES_UNITS.length - 1; unit++) value /= 1024
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${BYTES_UNITS[unit] ?? ''}`
}

/** Returns a span of time as people read it. */
export function humanSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${String(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 120) return `${String(minutes)} min`
  const hours = Math.floor(minutes / 60)
  return hours < 72
    ? `${String(hours)} h ${String(minutes % 60)} min`
    : `${String(Math.floor(hours / 24))} d`
}
