import { connectGateway, type ConnectOptions, type GatewayClient } from '../../src/client.ts'
import { measureCalls, type CallRun } from '../measure.ts'

const BODY = Buffer.alloc(100, 7)
const OPTIONS = { timeoutMs: 10_000, metadata: { tenant: 'bench' } }
let client: GatewayClient

async function connect(options: ConnectOptions): Promise<void> {
  client = await connectGateway(options)
}

async function unary({
  inFlight,
  seconds,
}: {
  inFlight: number
  seconds: number
}): Promise<CallRun> {
  const { channel } = client.cluster('bench')
  return await measureCalls(
    () => channel.unary('bench.Bench/Echo', BODY, OPTIONS),
    inFlight,
    seconds,
  )
}

export const role = { connect, unary }
