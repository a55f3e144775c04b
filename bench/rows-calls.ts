import type { CallRun } from './measure.ts'
import { median } from './measure.ts'
import { TRUST_DOMAIN, type Rig } from './rig.ts'
import { boundRow, ratioRow, type Pace, type Row } from './row.ts'

const IN_FLIGHT = 64

/** unary-64, unary-1 and caller-path. */
export async function callRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { gateway, ports } = await rig.tunnel()
  const references = await startReferences(rig)
  const { seconds } = pace
  const ours: CallRun[] = []
  const grpc: CallRun[] = []
  const http2: CallRun[] = []
  await gateway.call('unary', { inFlight: IN_FLIGHT, seconds })
  for (let round = 0; round < pace.rounds; round++) {
    ours.push(await gateway.call<CallRun>('unary', { inFlight: IN_FLIGHT, seconds }))
    grpc.push(await references.grpc(IN_FLIGHT, seconds))
    http2.push(await references.http2(IN_FLIGHT, seconds))
  }
  const rate = (runs: readonly CallRun[]): number => median(runs.map(({ perSecond }) => perSecond))
  const base = { what: 'unary calls/s, 64 in flight', value: rate(ours), unit: 'calls/s' }
  const rows = [
    ratioRow({
      id: 'unary-64',
      ...base,
      reference: rate(grpc),
      referenceWhat: 'grpc-js',
      atLeast: 15,
    }),
    ratioRow({
      id: 'unary-64-http2',
      ...base,
      reference: rate(http2),
      referenceWhat: 'node:http2',
      atLeast: 6,
    }),
  ]
  rows.push(await pingRow(rig, gateway, pace))
  const caller = await rig.worker('caller')
  await caller.call('connect', {
    address: { host: '127.0.0.1', port: ports.callers },
    serverName: 'localhost',
    trustDomain: TRUST_DOMAIN,
    files: { ...rig.files('caller') },
  })
  await caller.call('unary', { inFlight: IN_FLIGHT, seconds })
  const relayed: CallRun[] = []
  const direct: CallRun[] = []
  for (let round = 0; round < pace.rounds; round++) {
    relayed.push(await caller.call<CallRun>('unary', { inFlight: IN_FLIGHT, seconds }))
    direct.push(await gateway.call<CallRun>('unary', { inFlight: IN_FLIGHT, seconds }))
  }
  rows.push(
    ratioRow({
      id: 'caller-path',
      what: 'calls/s through caller, gateway and agent',
      value: rate(relayed),
      unit: 'calls/s',
      reference: rate(direct),
      referenceWhat: 'direct',
      atLeast: 0.4,
    }),
  )
  await rig.stopAll()
  return rows
}

interface References {
  grpc(inFlight: number, seconds: number): Promise<CallRun>
  http2(inFlight: number, seconds: number): Promise<CallRun>
}

async function startReferences(rig: Rig): Promise<References> {
  const grpcServer = await rig.worker('grpc-server')
  const grpcPort = await grpcServer.call<number>('start', { files: { ...rig.files('gateway') } })
  const grpcClient = await rig.worker('grpc-client')
  const h2Gateway = await rig.worker('h2-gateway')
  const h2Port = await h2Gateway.call<number>('listen', {
    files: { ...rig.files('gateway') },
    isRaised: true,
  })
  const h2Agent = await rig.worker('h2-agent')
  await h2Agent.call('dial', { port: h2Port, files: { ...rig.files('agent') }, isRaised: true })
  return {
    grpc: (inFlight, seconds) =>
      grpcClient.call<CallRun>('unary', {
        port: grpcPort,
        files: { ...rig.files('agent') },
        inFlight,
        seconds,
      }),
    http2: (inFlight, seconds) => h2Gateway.call<CallRun>('unary', { inFlight, seconds }),
  }
}

async function pingRow(
  rig: Rig,
  gateway: Awaited<ReturnType<Rig['worker']>>,
  pace: Pace,
): Promise<Row> {
  const tlsGateway = await rig.worker('tls-gateway')
  const port = await tlsGateway.call<number>('listen', { files: { ...rig.files('gateway') } })
  const tlsAgent = await rig.worker('tls-agent')
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round < pace.rounds; round++) {
    ours.push((await gateway.call<CallRun>('unary', { inFlight: 1, seconds: pace.seconds })).p50Ms)
    await tlsAgent.call('dial', { port, files: { ...rig.files('agent') }, pours: false })
    bare.push((await tlsGateway.call<CallRun>('pingPong', { seconds: pace.seconds })).p50Ms)
  }
  const [value, reference] = [median(ours), median(bare)]
  const ratio = value / reference
  const what = 'p50 with one call in flight'
  return {
    id: 'unary-1',
    what,
    value,
    unit: 'ms',
    reference,
    referenceWhat: 'bare TLS ping-pong',
    ratio,
    goal: 'at most 1.25 ×',
    met: ratio <= 1.25,
  }
}

/** p99-under-bulk and stalled-readers. */
export async function pressureRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { gateway } = await rig.tunnel()
  const alone = await gateway.call<CallRun>('unary', { inFlight: 1, seconds: pace.seconds })
  const under: CallRun[] = []
  for (let round = 0; round < pace.rounds; round++)
    under.push(await gateway.call<CallRun>('underBulk', { streams: 8, seconds: pace.seconds }))
  const p99 = median(under.map(({ p99Ms }) => p99Ms))
  const rows = [
    boundRow({
      id: 'p99-under-bulk',
      what: 'p99 of calls beside 8 bulk streams',
      value: p99,
      unit: 'ms',
      under: 5,
      reference: alone.p99Ms,
      referenceWhat: 'without bulk',
    }),
  ]
  const stalled = await gateway.call<{
    before: CallRun
    beside: CallRun
    bufferedBytes: number
    budgetBytes: number
    heldBytes: number
  }>('stalled', { readers: 64, seconds: pace.seconds })
  const mib = 1024 * 1024
  const { beside, before, heldBytes, budgetBytes } = stalled
  rows.push(
    boundRow({
      id: 'stalled-readers',
      what: 'memory held for 64 stalled readers, against what the budget reserved',
      value: heldBytes / mib,
      unit: 'MiB',
      under: Math.ceil(budgetBytes / mib),
      reference: budgetBytes / mib,
      referenceWhat: 'reserved',
    }),
  )
  rows.push(
    boundRow({
      id: 'stalled-readers-p99',
      what: 'p99 of calls beside 64 stalled readers',
      value: beside.p99Ms,
      unit: 'ms',
      under: Math.max(0.5, 2 * before.p99Ms),
      reference: before.p99Ms,
      referenceWhat: 'without them',
    }),
  )
  await rig.stopAll()
  return rows
}
