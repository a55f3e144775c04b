import { median } from './measure.ts'
import type { Rig } from './rig.ts'
import { ratioRow, type Pace, type Row } from './row.ts'

const ONE_WAY_MS = 25
const AIM_AT_50MS = 100

/** bulk-1 and bulk-8, against a bare TLS socket. */
export async function bulkRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { gateway } = await rig.tunnel()
  const tlsGateway = await rig.worker('tls-gateway')
  const port = await tlsGateway.call<number>('listen', { files: { ...rig.files('gateway') } })
  const tlsAgent = await rig.worker('tls-agent')
  const one: number[] = []
  const eight: number[] = []
  const bare: number[] = []
  await gateway.call('bulk', { streams: 1, seconds: pace.seconds })
  for (let round = 0; round < pace.rounds; round++) {
    one.push(await gateway.call<number>('bulk', { streams: 1, seconds: pace.seconds }))
    await tlsAgent.call('dial', { port, files: { ...rig.files('agent') }, pours: true })
    bare.push(await tlsGateway.call<number>('bulk', { seconds: pace.seconds }))
    eight.push(await gateway.call<number>('bulk', { streams: 8, seconds: pace.seconds }))
  }
  const reference = {
    reference: median(bare),
    referenceWhat: 'bare TLS',
    unit: 'MB/s',
    atLeast: 0.85,
  }
  await rig.stopAll()
  return [
    ratioRow({ id: 'bulk-1', what: 'one bulk stream', value: median(one), ...reference }),
    ratioRow({
      id: 'bulk-8',
      what: 'eight bulk streams in sum',
      value: median(eight),
      ...reference,
    }),
  ]
}

/** bulk-50ms, through a proxy that holds every byte for 25 ms each way. */
export async function delayedRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const proxy = await rig.worker('delay-proxy')
  const through = (port: number): Promise<number> =>
    proxy.call<number>('start', { port, oneWayMs: ONE_WAY_MS })
  const { gateway } = await rig.tunnel({ through })
  // The windows grow with the first round trips; the steady state is what is measured.
  const seconds = Math.max(3, pace.seconds)
  const value = await gateway.call<number>('bulk', { streams: 1, seconds })
  const h2Gateway = await rig.worker('h2-gateway')
  const h2Port = await h2Gateway.call<number>('listen', {
    files: { ...rig.files('gateway') },
    isRaised: false,
  })
  const h2Agent = await rig.worker('h2-agent')
  await h2Agent.call('dial', {
    port: await through(h2Port),
    files: { ...rig.files('agent') },
    isRaised: false,
  })
  const reference = await h2Gateway.call<number>('bulk', { seconds })
  await rig.stopAll()
  const row = ratioRow({
    id: 'bulk-50ms',
    what: 'one bulk stream at 50 ms round trip',
    value,
    unit: 'MB/s',
    reference,
    referenceWhat: 'node:http2 by default',
    atLeast: 100,
  })
  return [
    { ...row, goal: `${String(AIM_AT_50MS)} MB/s and 100 ×`, met: row.met && value >= AIM_AT_50MS },
  ]
}
