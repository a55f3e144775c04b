import { join } from 'node:path'
import { makeSealingKey, readSealingKey } from '../src/seal/sealing-key.ts'
import type { CallRun } from './measure.ts'
import { median } from './measure.ts'
import { TRUST_DOMAIN, type Rig } from './rig.ts'
import { ratioRow, type Pace, type Row } from './row.ts'

const IN_FLIGHT = 64

/** Sealed calls and bulk, each beside the same that is not sealed. */
export async function sealedRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { seconds, rounds } = pace
  const keyFile = join(rig.folder, 'seal.key')
  makeSealingKey(keyFile)
  const { pin } = readSealingKey({ keyFile, certificateFile: undefined })
  const callers = JSON.stringify([{ caller: 'bench', pin }])
  const { agent, ports } = await rig.tunnel({ agentFlags: { 'seal.callers': callers } })
  const caller = await rig.worker('caller')
  await caller.call('connect', {
    address: { host: '127.0.0.1', port: ports.callers },
    serverName: 'localhost',
    trustDomain: TRUST_DOMAIN,
    files: { ...rig.files('caller') },
  })
  const agentPin = await agent.call<string>('pin', {})
  await caller.call('seal', { keyFile, pin: agentPin, flags: rig.flags('caller') })
  const calls = async (isSealed: boolean): Promise<number> =>
    (await caller.call<CallRun>('unary', { inFlight: IN_FLIGHT, seconds, isSealed })).perSecond
  const bulk = (isSealed: boolean): Promise<number> =>
    caller.call<number>('bulk', { seconds, isSealed })
  const found: Record<string, number[]> = { calls: [], sealedCalls: [], bulk: [], sealedBulk: [] }
  await calls(true)
  await calls(false)
  for (let round = 0; round < rounds; round++) {
    found.calls?.push(await calls(false))
    found.sealedCalls?.push(await calls(true))
    found.bulk?.push(await bulk(false))
    found.sealedBulk?.push(await bulk(true))
  }
  await rig.stopAll()
  const of = (name: string): number => median(found[name] ?? [])
  return [
    ratioRow({
      ...{ id: 'sealed-unary', what: 'sealed calls/s, 64 in flight', unit: 'calls/s' },
      ...{ value: of('sealedCalls'), reference: of('calls') },
      ...{ referenceWhat: 'not sealed', atLeast: 0.5 },
    }),
    ratioRow({
      ...{ id: 'sealed-bulk', what: 'one sealed bulk stream', unit: 'MB/s' },
      ...{ value: of('sealedBulk'), reference: of('bulk') },
      ...{ referenceWhat: 'not sealed', atLeast: 0.333 },
    }),
  ]
}
