import { median, type CallRun } from './measure.ts'
import type { Rig } from './rig.ts'
import { boundRow, ratioRow, type Pace, type Row } from './row.ts'

const IN_FLIGHT = 64

/** Calls by gRPC through gateway and agent, beside echo servers that the same client reaches directly. */
export async function apiRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { ports } = await rig.tunnel({ gatewayFlags: { 'api.listen': '127.0.0.1:0' } })
  const bare = await rig.worker('h2-server')
  const grpc = await rig.worker('grpc-server')
  const client = await rig.worker('api-client')
  const gatewayFiles = { files: { ...rig.files('gateway') } }
  const at = {
    ours: ports.api,
    bare: await bare.call<number>('listen', gatewayFiles),
    grpc: await grpc.call<number>('start', gatewayFiles),
  }
  const { seconds } = pace
  const run = (port: number, inFlight: number): Promise<CallRun> =>
    client.call<CallRun>('unary', { port, files: { ...rig.files('caller') }, inFlight, seconds })
  await run(at.ours, IN_FLIGHT)
  const rates: Record<keyof typeof at, number[]> = { ours: [], bare: [], grpc: [] }
  const pings: Record<'ours' | 'bare', number[]> = { ours: [], bare: [] }
  for (let round = 0; round < pace.rounds; round++) {
    for (const which of ['ours', 'bare', 'grpc'] as const)
      rates[which].push((await run(at[which], IN_FLIGHT)).perSecond)
    for (const which of ['ours', 'bare'] as const)
      pings[which].push((await run(at[which], 1)).p50Ms)
  }
  await rig.stopAll()
  const what = 'calls/s by gRPC through gateway and agent, 64 in flight'
  const base = { what, value: median(rates.ours), unit: 'calls/s' }
  const direct = median(pings.bare)
  return [
    ratioRow({
      ...{ id: 'api-64', ...base, reference: median(rates.bare), atLeast: 0.7 },
      referenceWhat: 'node:http2, direct',
    }),
    ratioRow({
      ...{ id: 'api-64-grpc-js', ...base, reference: median(rates.grpc), atLeast: 1.5 },
      referenceWhat: 'grpc-js, direct',
    }),
    boundRow({
      ...{ id: 'api-1', what: 'p50 of a call by gRPC, one in flight', unit: 'ms' },
      ...{ value: median(pings.ours), reference: direct, under: direct + 0.4 },
      referenceWhat: 'node:http2, direct',
    }),
  ]
}
