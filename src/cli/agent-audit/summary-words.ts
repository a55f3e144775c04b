import type { SummaryRow } from '../../audit/summary.ts'
import type { DataType } from '../../contract/data-type.ts'
import { CATALOG } from '../../guard/catalog.ts'

const CALLERS_SHOWN = 3

/** What is said of a type in the column "may cross". */
export function mayCrossText(type: DataType): string {
  const { rule, isNamedOnly } = CATALOG[type]
  if (isNamedOnly === true) return 'by name'
  return rule === 'control plane only' ? 'stays there' : rule
}

/** Who used a type most, for one cell. */
export function callersText({ callers }: SummaryRow): string {
  const most = [...callers].sort(([, a], [, b]) => b - a)
  const shown = most.slice(0, CALLERS_SHOWN).map(([name]) => name)
  return `${shown.join(', ')}${most.length > CALLERS_SHOWN ? `, ${String(most.length - CALLERS_SHOWN)} more` : ''}`
}

/** What no record of ours shows. */
export const NOT_COVERED =
  'not covered: names, lengths and timing of what crosses; text in metadata is bounded, not understood'
