import { join } from 'node:path'
import { freePort } from '../scripts/free-port.ts'
import { median, type CallRun } from './measure.ts'
import type { Rig, Tunnel } from './rig.ts'
import { boundRow, ratioRow, type Pace, type Row } from './row.ts'
import type { FrontAt } from './roles/cloudflare.ts'
import type { WorkerProcess } from './worker-process.ts'

const IN_FLIGHT = 64

interface Measured {
  readonly calls: number
  readonly p50Ms: number
  readonly bulk: number
}

/** Tunnels through a stand-in for Cloudflare, both ways: calls beside a direct tunnel; latency and bulk beside the bare carrier, without TLS of ours. */
export async function cloudflareRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const direct = await measured(await rig.tunnel(), pace)
  await rig.stopAll()
  const dial = await throughFront(rig, pace)
  const connector = await throughConnector(rig, pace)
  return [
    ...rowsOf('cloudflare-dial', 'dialling the front', dial, direct),
    ...rowsOf('cloudflare-connector', 'by a connector beside the agent', connector, direct),
  ]
}

interface Compared {
  readonly ours: Measured
  readonly bare: Omit<Measured, 'calls'>
}

function rowsOf(id: string, how: string, { ours, bare }: Compared, direct: Measured): Row[] {
  return [
    ratioRow({
      ...{
        id: `${id}-calls`,
        what: `calls/s ${how}, ${String(IN_FLIGHT)} in flight`,
        unit: 'calls/s',
      },
      ...{ value: ours.calls, reference: direct.calls, referenceWhat: 'direct', atLeast: 0 },
    }),
    boundRow({
      ...{
        id: `${id}-p50`,
        what: `p50 of a call ${how}, one in flight; direct ${direct.p50Ms.toFixed(3)}`,
        unit: 'ms',
      },
      ...{ value: ours.p50Ms, reference: bare.p50Ms, referenceWhat: 'ping by the bare carrier' },
      under: bare.p50Ms * 1.1,
    }),
    ratioRow({
      ...{
        id: `${id}-bulk`,
        what: `one bulk stream ${how}; direct ${direct.bulk.toFixed(0)}`,
        unit: 'MB/s',
      },
      ...{
        value: ours.bulk,
        reference: bare.bulk,
        referenceWhat: 'the bare carrier',
        atLeast: 0.9,
      },
    }),
  ]
}

async function throughFront(rig: Rig, pace: Pace): Promise<Compared> {
  const cloudflare = await rig.worker('cloudflare')
  const [far, near] = [await rig.worker('carrier-load'), await rig.worker('carrier-load')]
  const bareFront = await cloudflare.call<FrontAt>('toPort', {
    folder: join(rig.folder, 'front-bare'),
    port: await far.call<number>('listen'),
  })
  const agentsPort = await freePort()
  const front = await cloudflare.call<FrontAt>('toPort', {
    folder: join(rig.folder, 'front-dial'),
    port: agentsPort,
  })
  const tunnel = await rig.tunnel({
    gatewayFlags: { 'agents.listen': `127.0.0.1:${String(agentsPort)}` },
    agentFlags: {
      via: 'cloudflare-dial',
      'cloudflare.address': `localhost:${String(front.port)}`,
      'cloudflare.caFile': front.caFile,
      'cloudflare.serviceTokenFile': front.tokenFile,
    },
  })
  await near.call('dial', { ...bareFront })
  return await compared(rig, pace, tunnel, { from: near, to: far })
}

async function throughConnector(rig: Rig, pace: Pace): Promise<Compared> {
  const cloudflare = await rig.worker('cloudflare')
  const [far, near] = [await rig.worker('carrier-load'), await rig.worker('carrier-load')]
  type At = FrontAt & { readonly program: string; readonly tunnelTokenFile: string }
  const bareFront = await cloudflare.call<At>('toConnector', {
    folder: join(rig.folder, 'edge-bare'),
    port: await far.call<number>('listen'),
  })
  const { program, tunnelTokenFile } = bareFront
  await cloudflare.call('run', { program, tokenFile: tunnelTokenFile })
  const port = await freePort()
  const front = await cloudflare.call<At>('toConnector', { folder: join(rig.folder, 'edge'), port })
  const row = {
    address: `localhost:${String(front.port)}`,
    caFile: front.caFile,
    serviceTokenFile: front.tokenFile,
  }
  const tunnel = await rig.tunnel({
    gatewayFlags: { 'agents.fronts': JSON.stringify([row]) },
    agentFlags: {
      via: 'cloudflare-connector',
      'cloudflared.path': front.program,
      'cloudflared.tokenFile': front.tunnelTokenFile,
      'cloudflared.listen': `127.0.0.1:${String(port)}`,
      'cloudflared.protocol': 'http2',
    },
  })
  await near.call('dial', { ...bareFront })
  // The agent is where the connector is: its bytes go to who dialled.
  return await compared(rig, pace, tunnel, { from: far, to: near })
}

async function compared(
  rig: Rig,
  pace: Pace,
  tunnel: Tunnel,
  { from, to }: { readonly from: WorkerProcess; readonly to: WorkerProcess },
): Promise<Compared> {
  const { seconds, rounds } = pace
  const bulk: number[] = []
  const all: Measured[] = []
  for (let round = 0; round < rounds; round++) {
    all.push(await measured(tunnel, { ...pace, rounds: 1 }))
    const [rate] = await Promise.all([
      to.call<number>('count', { seconds }),
      from.call('pour', { seconds }),
    ])
    bulk.push(rate)
  }
  await to.call('echo')
  const pings: number[] = []
  for (let round = 0; round < rounds; round++)
    pings.push((await from.call<CallRun>('ping', { seconds })).p50Ms)
  await rig.stopAll()
  const of = (key: keyof Measured): number => median(all.map((one) => one[key]))
  return {
    ours: { calls: of('calls'), p50Ms: of('p50Ms'), bulk: of('bulk') },
    bare: { p50Ms: median(pings), bulk: median(bulk) },
  }
}

async function measured({ gateway }: Tunnel, { seconds, rounds }: Pace): Promise<Measured> {
  const all: Measured[] = []
  await gateway.call('unary', { inFlight: IN_FLIGHT, seconds: 1 })
  for (let round = 0; round < rounds; round++) {
    const many = await gateway.call<CallRun>('unary', { inFlight: IN_FLIGHT, seconds })
    const one = await gateway.call<CallRun>('unary', { inFlight: 1, seconds })
    const bulk = await gateway.call<number>('bulk', { streams: 1, seconds })
    all.push({ calls: many.perSecond, p50Ms: one.p50Ms, bulk })
  }
  const of = (key: keyof Measured): number => median(all.map((found) => found[key]))
  return { calls: of('calls'), p50Ms: of('p50Ms'), bulk: of('bulk') }
}
