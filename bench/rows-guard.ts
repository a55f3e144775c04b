import { readPolicy } from '../src/config/policy-file.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { systemRandom } from '../src/base/random.ts'
import { Permit, type Ask } from '../src/contract/call-guard.ts'
import { plainData } from '../src/contract/data-type.ts'
import { Guard } from '../src/guard/guard.ts'
import { NO_RECORD } from '../src/guard/recorder.ts'
import type { CallRun } from './measure.ts'
import { median } from './measure.ts'
import type { Rig } from './rig.ts'
import { boundRow, ratioRow, type Pace, type Row } from './row.ts'

const IN_FLIGHT = 64
const DECISIONS = 200_000

/** What the guard's decisions and its record cost. */
export async function guardRows(rig: Rig, pace: Pace): Promise<Row[]> {
  return [
    decisionRow('decision', 3, 2, pace),
    decisionRow('decision-1000', 1000, 5, pace),
    await recordRow(rig, pace),
    await recordBulkRow(rig, pace),
  ]
}

/** The time of one decision and its account, the last rule being the one that allows. */
function decisionRow(id: string, rules: number, under: number, { rounds }: Pace): Row {
  const rows = Array.from(
    { length: rules },
    (_none, index) =>
      `  - { name: r${String(index)}, callers: [c${String(index)}], methods: ["p.S${String(index)}/*"] }`,
  )
  const { document } = readPolicy(`version: 1\nrules:\n${rows.join('\n')}`, 'policy.yaml')
  if (document === undefined) throw new Error('the policy of the benchmark is not in order')
  const guard = new Guard(
    { clock: systemClock, random: systemRandom, recorder: NO_RECORD },
    document,
  )
  const last = String(rules - 1)
  const ask: Ask = {
    caller: { kind: 'service', name: `c${last}`, known: 'gateway' },
    name: `p.S${last}/Method`,
    kind: 'unary',
    declared: undefined,
    data: plainData('cluster-record'),
    sealed: false,
    gateway: 'gw-1',
    region: 'eu-west-1',
    tunnel: '1',
  }
  const decide = (): number => {
    const startMs = systemClock.nowMs()
    for (let i = 0; i < DECISIONS; i++) {
      const permit = guard.decide(ask)
      if (!Permit.is(permit)) throw new Error(permit.text)
      permit.pass('in', 100)
      permit.pass('out', 100)
      permit.ended('OK')
    }
    return ((systemClock.nowMs() - startMs) * 1000) / DECISIONS
  }
  decide()
  const value = median(Array.from({ length: Math.max(3, rounds) }, decide))
  return boundRow({ id, what: `a decision, ${String(rules)} rules`, value, unit: 'µs', under })
}

/** Calls through an agent that keeps its record, against the same without one. */
async function recordRow(rig: Rig, pace: Pace): Promise<Row> {
  const { seconds } = pace
  const kept = await rig.tunnel()
  const bare = await rig.tunnel({ agentFlags: { record: 'none' } })
  const one = async ({ gateway }: typeof kept): Promise<number> =>
    (await gateway.call<CallRun>('unary', { inFlight: IN_FLIGHT, seconds })).perSecond
  const [ours, theirs] = await inTurns(
    pace,
    () => one(kept),
    () => one(bare),
  )
  await rig.stopAll()
  return ratioRow({
    ...{ id: 'record-unary', what: 'unary calls/s with a record', unit: 'calls/s' },
    ...{ value: ours, reference: theirs, referenceWhat: 'without', atLeast: 0.85 },
  })
}

/** A bulk stream through an agent that keeps its record, against the same without one. */
async function recordBulkRow(rig: Rig, pace: Pace): Promise<Row> {
  const { seconds } = pace
  const kept = await rig.tunnel()
  const bare = await rig.tunnel({ agentFlags: { record: 'none' } })
  const one = async ({ gateway }: typeof kept): Promise<number> =>
    await gateway.call<number>('bulk', { streams: 1, seconds })
  const [ours, theirs] = await inTurns(
    pace,
    () => one(kept),
    () => one(bare),
  )
  await rig.stopAll()
  return ratioRow({
    ...{ id: 'record-bulk', what: 'one bulk stream with a record', unit: 'MB/s' },
    ...{ value: ours, reference: theirs, referenceWhat: 'without', atLeast: 0.95 },
  })
}

async function inTurns(
  { rounds }: Pace,
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
): Promise<readonly [number, number]> {
  const found: [number[], number[]] = [[], []]
  await ours()
  await theirs()
  for (let round = 0; round < rounds; round++) {
    found[0].push(await ours())
    found[1].push(await theirs())
  }
  return [median(found[0]), median(found[1])]
}
