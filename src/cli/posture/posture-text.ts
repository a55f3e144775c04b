import type { LookResponse_Finding as Line } from '../../gen/postern/v1/posture_pb.js'
import { table } from '../program/program.ts'

const OUTCOMES = ['OK', 'WARN', 'FAIL', 'UNKNOWN']

/** Returns a posture as a table, and a line that counts. */
export function postureText(lines: readonly Line[]): string {
  const rows = lines.map(({ outcome, area, subject, check, evidence }) => [
    ...[outcome, area, subject, check, evidence],
  ])
  return `${table(['', 'AREA', 'WHAT', 'CHECK', 'SEEN'], rows)}\n\n${countText(lines)}`
}

/** Returns how many lines have each outcome, in words. */
export function countText(lines: readonly Line[]): string {
  return OUTCOMES.map((one) => {
    const count = lines.filter(({ outcome }) => outcome === one).length
    return `${String(count)} ${one}`
  }).join(', ')
}
