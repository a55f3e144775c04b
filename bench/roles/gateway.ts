import { silentLogger } from '../../src/base/logger.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { GATEWAY_SETTINGS } from '../../src/config/gateway-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { gatewayMetrics } from '../../src/gateway/control/metrics.ts'
import { RpcChannel } from '../../src/rpc/channel.ts'
import { MonitorListener } from '../../src/transport/monitor-listen.ts'
import { drinkFor } from '../drink.ts'
import { measureBytes, measureCalls, sleep, type CallRun } from '../measure.ts'

const BODY = Buffer.alloc(100, 7)
const OPTIONS = { timeoutMs: 10_000, metadata: { tenant: 'bench' } }
const NOTHING = Buffer.alloc(0)
let gateway: Gateway

async function start(
  flags: Record<string, string>,
): Promise<{ agents: number; callers: number; api: number }> {
  const { values } = loadSettings(GATEWAY_SETTINGS, { flags, environment: {}, file: undefined })
  gateway = await Gateway.open(values, {
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  })
  const { agents, callers, api } = await gateway.start()
  return { agents: agents.port, callers: callers.port, api: api?.port ?? 0 }
}

/** Calls from the gateway, in the name of a caller: one tunnel, no relay. */
function channel(): RpcChannel {
  const tunnel = gateway.registry.clusters.get('bench')?.[0]
  if (tunnel === undefined) throw new Error('no tunnel')
  return new RpcChannel(gateway.parts.runtime, tunnel.connection.session, 'bench', 'bench')
}

async function unary({
  inFlight,
  seconds,
}: {
  inFlight: number
  seconds: number
}): Promise<CallRun> {
  const calls = channel()
  return await measureCalls(() => calls.unary('bench.Bench/Echo', BODY, OPTIONS), inFlight, seconds)
}

async function readFor(
  calls: RpcChannel,
  untilMs: number,
  took: (bytes: number) => void,
): Promise<void> {
  for await (const message of calls.serverStream('bench.Bench/Down', NOTHING)) {
    took(message.length)
    if (performance.now() > untilMs) break
  }
}

async function bulk({ streams, seconds }: { streams: number; seconds: number }): Promise<number> {
  const calls = channel()
  return await measureBytes(async (took) => {
    const untilMs = performance.now() + seconds * 1000
    await Promise.all(Array.from({ length: streams }, () => drinkFor(calls, untilMs, took)))
  })
}

/** Bulk as messages of a server-streaming call. */
async function messages({ seconds }: { seconds: number }): Promise<number> {
  const calls = channel()
  return await measureBytes((took) => readFor(calls, performance.now() + seconds * 1000, took))
}

/** Calls, one at a time, while bulk streams run. */
async function underBulk({
  streams,
  seconds,
}: {
  streams: number
  seconds: number
}): Promise<CallRun> {
  const calls = channel()
  const untilMs = performance.now() + (seconds + 0.5) * 1000
  const running = Array.from({ length: streams }, () => drinkFor(calls, untilMs, () => undefined))
  await sleep(300)
  const run = await measureCalls(() => calls.unary('bench.Bench/Echo', BODY, OPTIONS), 1, seconds)
  await Promise.all(running)
  return run
}

/** Opens streams that nobody reads; returns what they hold, and how calls fare beside them. */
async function stalled({ readers, seconds }: { readers: number; seconds: number }): Promise<{
  before: CallRun
  beside: CallRun
  bufferedBytes: number
  budgetBytes: number
  heldBytes: number
}> {
  const calls = channel()
  const tunnel = gateway.registry.clusters.get('bench')?.[0]
  const before = await unary({ inFlight: 1, seconds })
  globalThis.gc?.()
  const rssBefore = process.memoryUsage().arrayBuffers
  const abort = new AbortController()
  const iterators = Array.from({ length: readers }, () =>
    iterate(calls.serverStream('bench.Bench/Down', NOTHING, { signal: abort.signal })),
  )
  // One message each, and then no more: the rest of each window fills up and stays.
  await Promise.all(iterators.map((iterator) => iterator.next()))
  await sleep(500)
  const beside = await unary({ inFlight: 1, seconds })
  globalThis.gc?.()
  const heldBytes = process.memoryUsage().arrayBuffers - rssBefore
  const bufferedBytes = tunnel?.connection.session.account.bufferedBytes ?? 0
  const budgetBytes = gateway.parts.budget.reservedBytes
  abort.abort()
  await sleep(100)
  return { before, beside, bufferedBytes, budgetBytes, heldBytes }
}

function iterate(messages: AsyncIterable<Buffer>): AsyncIterator<Buffer> {
  return messages[Symbol.asyncIterator]()
}

async function memory(): Promise<{ rss: number; tunnels: number }> {
  globalThis.gc?.()
  await sleep(200)
  globalThis.gc?.()
  return { rss: process.memoryUsage.rss(), tunnels: gateway.registry.tunnelCount }
}

async function waitForTunnels({ count }: { count: number }): Promise<void> {
  while (gateway.registry.tunnelCount < count) await sleep(20)
}

/** CPU time of the process, and time that its event loop was busy, since its start. */
function busy(): Promise<{ cpuMs: number; loopMs: number }> {
  const { user, system } = process.cpuUsage()
  const cpuMs = (user + system) / 1000
  return Promise.resolve({ cpuMs, loopMs: performance.eventLoopUtilization().active })
}

/** Answers /livez as the daemon does; resolves to the port. */
async function monitor(): Promise<number> {
  const metrics = gatewayMetrics(gateway, systemClock)
  const state = () => ({ isReady: true, isAlive: true, text: 'it runs' })
  const { port } = await new MonitorListener(
    { host: '127.0.0.1', port: 0 },
    { metrics, state, setting: 'metrics.listen' },
  ).listen()
  return port
}

/** Where the agent is connected from: another one after a reconnect. */
function tunnelAddress(): Promise<string> {
  const tunnel = gateway.registry.clusters.get('bench')?.[0]
  return Promise.resolve(tunnel?.connection.facts.address ?? '')
}

/** Round trip of the last ping through the agent's tunnel, in ms. */
function rtt(): Promise<number> {
  const tunnel = gateway.registry.clusters.get('bench')?.[0]
  return Promise.resolve(tunnel?.connection.session.rttMs ?? 0)
}

export const role = {
  start,
  unary,
  bulk,
  messages,
  underBulk,
  stalled,
  memory,
  waitForTunnels,
  busy,
  monitor,
  tunnelAddress,
  rtt,
}
