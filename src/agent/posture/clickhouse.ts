import { asPosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { about, seen, type Finding, type Seen } from '../../base/finding.ts'
import type { ClickhouseRow } from '../../dataplane/clickhouse-row.ts'

const CHECK = 'encryption at rest'
const MS_MAX = 10_000
const ID_BYTES = 16

/** Asks each ClickHouse whether its disks are encrypted, by its own system tables. */
export async function clickhouseFindings(
  rows: readonly ClickhouseRow[],
  random: Pick<Random, 'hex'>,
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = await Promise.all(
    rows.map(async (row) => about('ClickHouse', row.name, [await lookAt(row, random, signal)])),
  )
  return found.flat()
}

async function lookAt(
  row: ClickhouseRow,
  random: Pick<Random, 'hex'>,
  signal: AbortSignal,
): Promise<Seen> {
  try {
    const { askDisks } = await import('../../dataplane/metrics/clickhouse.ts')
    const queryId = `postern-${random.hex(ID_BYTES)}`
    const { rows } = await askDisks(row, { leftMs: MS_MAX, signal, queryId })
    const disks = rows.map(({ cells }) => ({
      name: cells[0]?.text ?? '',
      isOn: cells[1]?.text === '1',
    }))
    const bare = disks.filter(({ isOn }) => !isOn).map(({ name }) => name)
    if (bare.length === 0 && disks.length > 0)
      return seen(
        CHECK,
        'OK',
        `all disks are encrypted: ${disks.map(({ name }) => name).join(', ')}`,
      )
    const text = `not encrypted by ClickHouse: ${bare.join(', ')}; whether the disk below is, its cloud's console tells`
    return seen(CHECK, 'UNKNOWN', text)
  } catch (error) {
    const why = asPosternError(error).rawMessage
    return seen(CHECK, 'UNKNOWN', `${why}; the right to select from system.disks lets it tell`)
  }
}
