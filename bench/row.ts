/** One measured line. `ratio` is value over reference, or reference over value where less is better. */
export interface Row {
  readonly id: string
  readonly what: string
  readonly value: number
  readonly unit: string
  /** What it is held against, in the same unit; null where the goal is absolute. */
  readonly reference: number | null
  readonly referenceWhat: string
  readonly ratio: number | null
  readonly goal: string
  readonly met: boolean
}

export interface Pace {
  /** Length of one measurement, in seconds. */
  readonly seconds: number
  /** Times that ours and the reference are measured in turn; the median counts. */
  readonly rounds: number
  readonly idleTunnels: number
}

const digits = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value.toFixed(value >= 1 ? 2 : 3)

export function markdown(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ id, what, value, unit, reference, referenceWhat, ratio, goal, met }) => {
      const held = reference === null ? '' : `${referenceWhat} ${digits(reference)}`
      const times = ratio === null ? '' : `${digits(ratio)} ×`
      return `| \`${id}\` | ${what} | ${digits(value)} ${unit} | ${held} | ${times} | ${goal} | ${met ? 'yes' : 'no'} |`
    },
  )
  return [
    '| id | what | value | reference | ratio | goal | met |',
    '|---|---|---|---|---|---|---|',
    ...lines,
  ].join('\n')
}

/** A row whose goal is a ratio to a reference. `atLeast`: value over reference. */
export function ratioRow(
  row: Pick<Row, 'id' | 'what' | 'value' | 'unit' | 'referenceWhat'> & {
    readonly reference: number
    readonly atLeast: number
  },
): Row {
  const { atLeast, ...rest } = row
  const ratio = row.value / row.reference
  return { ...rest, ratio, goal: `at least ${String(atLeast)} ×`, met: ratio >= atLeast }
}

/** A row that must stay under a bound. */
export function boundRow(
  row: Pick<Row, 'id' | 'what' | 'value' | 'unit'> & {
    readonly under: number
    readonly reference?: number
    readonly referenceWhat?: string
  },
): Row {
  const { under, reference = null, referenceWhat = '', ...rest } = row
  const ratio = reference === null ? null : row.value / reference
  return {
    ...rest,
    reference,
    referenceWhat,
    ratio,
    goal: `under ${String(Number(under.toPrecision(3)))} ${row.unit}`,
    met: row.value < under,
  }
}
