import { expect } from 'chai'
import { statSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { Diagnostics, RpcError } from '../../src/client.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import type { StatusJson } from '../support/status-now.ts'
import { Daemons, freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'

const SHORT = { tunnel: { pingInterval: '200ms', silence: '1s' } }
/** The agent says at once that it is down. */
const AT_ONCE = { ...SHORT, health: { delay: '0s' } }

describe('real processes', function () {
  let daemons: Daemons
  beforeEach(async () => {
    daemons = await Daemons.create()
  })
  afterEach(() => {
    daemons.stop()
  })

  async function client(): Promise<GatewayClient> {
    return await dialGateway({
      address: { host: 'localhost', port: daemons.callerPort },
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
  }

  async function status(): Promise<StatusJson> {
    const { text } = await daemons.run(
      'agent',
      'status',
      '--json',
      '--socket',
      join(daemons.pki.folder, 'agent.sock'),
    )
    return JSON.parse(text) as StatusJson
  }

  /** Calls all the time; counts what came of them. */
  function load(gateway: GatewayClient): {
    ok: number
    failed: RpcError[]
    stop: () => Promise<void>
  } {
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    const count = { ok: 0, failed: [] as RpcError[], stop: () => Promise.resolve() }
    let isRunning = true
    const worker = async (): Promise<void> => {
      while (isRunning) {
        await diagnostics.echo({ payload: Buffer.alloc(100) }, { timeoutMs: 3000 }).then(
          () => {
            count.ok++
          },
          async (error: unknown) => {
            expect(error).to.be.instanceOf(RpcError)
            count.failed.push(error as RpcError)
            await new Promise((resolve) => setTimeout(resolve, 20))
          },
        )
      }
    }
    const workers = Array.from({ length: 16 }, worker)
    count.stop = async () => {
      isRunning = false
      await Promise.all(workers)
    }
    return count
  }

  it('agent killed with -9 under load: calls fail at once, and work again with the next agent', async () => {
    await daemons.startGateway()
    const agent = await daemons.startAgent()
    const gateway = await client()
    const calls = load(gateway)
    await eventually(() => calls.ok > 500, 'calls work')
    agent.process.kill('SIGKILL')
    await eventually(() => calls.failed.length > 0, 'calls fail')
    await daemons.startAgent()
    const before = calls.ok
    await eventually(() => calls.ok > before + 500, 'calls work again')
    await calls.stop()
    expect(new Set(calls.failed.map(({ status }) => status))).to.deep.equal(
      new Set(['UNAVAILABLE']),
    )
    gateway.close()
  })

  it('gateway killed with -9 under load: the agent comes back to the next one by itself', async () => {
    const gateway = await daemons.startGateway()
    await daemons.startAgent()
    const first = await client()
    const calls = load(first)
    await eventually(() => calls.ok > 500, 'calls work')
    gateway.process.kill('SIGKILL')
    await eventually(() => calls.failed.length > 0, 'calls fail')
    await calls.stop()
    await eventually(async () => (await status()).health === 'down', 'the agent says so')
    await daemons.startGateway()
    await eventually(async () => (await status()).health === 'healthy', 'the agent is back')
    const second = await client()
    await second.cluster('c-1').service(Diagnostics).echo({}, { timeoutMs: 5000 })
    second.close()
  })

  it('agent stopped for longer than the silence: the gateway stops routing to it, and it comes back', async () => {
    await daemons.startGateway(SHORT)
    const agent = await daemons.startAgent(SHORT)
    const gateway = await client()
    agent.process.kill('SIGSTOP')
    await eventually(
      async () => (await gateway.listClusters()).length === 0,
      'the gateway has let go',
    )
    const error = await gateway
      .cluster('c-1')
      .service(Diagnostics)
      .echo({}, { timeoutMs: 5000 })
      .catch((reason: unknown) => reason as RpcError)
    expect(error).to.include({ code: 'CLUSTER_UNKNOWN' })
    agent.process.kill('SIGCONT')
    await eventually(async () => (await gateway.listClusters()).length === 1, 'the agent is back')
    expect((await status()).lastError?.code).to.be.oneOf([
      'PEER_SILENT',
      'CONNECTION_LOST',
      'WRITE_STALLED',
    ])
    gateway.close()
  })

  it('network that swallows everything without FIN: both ends notice within the deadline', async () => {
    await daemons.startGateway(SHORT)
    const hole = await blackhole(daemons.agentPort)
    await daemons.startAgent({ ...AT_ONCE, gateway: { address: `localhost:${String(hole.port)}` } })
    const gateway = await client()
    expect((await gateway.listClusters()).length).to.equal(1)
    hole.swallow()
    await eventually(
      async () => (await gateway.listClusters()).length === 0,
      'the gateway has let go',
    )
    await eventually(async () => (await status()).health === 'down', 'the agent has let go')
    expect((await status()).lastError?.code).to.be.oneOf([
      'PEER_SILENT',
      'DIAL_TIMEOUT',
      'WRITE_STALLED',
    ])
    gateway.close()
    hole.close()
  })

  it('SIGTERM drains: the running call finishes, new ones are refused, exit 0', async () => {
    await daemons.startGateway()
    const agent = await daemons.startAgent()
    const gateway = await client()
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    const got: number[] = []
    const running = (async () => {
      for await (const { payload } of diagnostics.download({
        messages: 10,
        messageBytes: 5,
        intervalMs: 100,
      }))
        got.push(payload.length)
    })()
    await eventually(() => got.length > 1, 'the call runs')
    agent.process.kill('SIGTERM')
    await agent.waitFor('draining', 50000)
    const refused = await eventually(
      () =>
        diagnostics.echo({}).then(
          () => undefined,
          (error: unknown) => error as RpcError,
        ),
      'a refusal',
    )
    expect(refused.notStarted).to.equal(true)
    await running
    expect(got.length).to.equal(10)
    expect(await agent.ended).to.equal(0)
    gateway.close()
  })

  it('a second signal stops at once', async () => {
    const daemon = await daemons.startGateway()
    await daemons.startAgent()
    const gateway = await client()
    const endless = gateway
      .cluster('c-1')
      .service(Diagnostics)
      .download({ messages: 1000, messageBytes: 1, intervalMs: 1000 })
    const read = (async () => {
      for await (const message of endless) expect(message.payload.length).to.equal(1)
    })().catch((error: unknown) => error)
    await eventually(
      async () => (await gateway.listClusters())[0]?.tunnels[0]?.streams === 1,
      'the call runs',
    )
    daemon.process.kill('SIGTERM')
    await daemon.waitFor('draining', 50000)
    const beganAtMs = Date.now()
    daemon.process.kill('SIGTERM')
    expect(await daemon.ended).to.equal(1)
    expect(Date.now() - beganAtMs).to.be.lessThan(25_000)
    expect(await read).to.be.instanceOf(RpcError)
  })

  it('status exits 0, 1 and 3, and its socket is for the owner alone', async () => {
    const socket = join(daemons.pki.folder, 'agent.sock')
    expect((await daemons.run('agent', 'status', '--socket', socket)).status).to.equal(3)
    const gateway = await daemons.startGateway()
    await daemons.startAgent()
    expect(statSync(socket).mode & 0o777).to.equal(0o600)
    const healthy = await daemons.run('agent', 'status', '--socket', socket)
    expect(healthy.status).to.equal(0)
    for (const word of ['healthy', 'TLSv1.3', 'X25519MLKEM768', 'gw-1', 'round trip'])
      expect(healthy.text).to.include(word)
    gateway.process.kill('SIGKILL')
    await eventually(async () => (await status()).health === 'down', 'the agent says so')
    expect((await daemons.run('agent', 'status', '--socket', socket)).status).to.equal(1)
  })

  it('commands say what is wrong, and exit with the status of the error', async () => {
    const missing = await daemons.run('agent', 'run')
    expect([missing.status, missing.text]).to.satisfy(
      ([code, text]: [number, string]) =>
        code === 78 && text.includes('gateway.address is missing: give --gateway-address'),
    )
    expect((await daemons.run('agent', 'run', '--config', '/no/such/file')).status).to.equal(66)
    expect((await daemons.run('gateway', 'nonsense')).status).to.equal(64)
    const caller = await daemons.settings('caller')
    const down = await daemons.run('gateway', 'clusters', 'list', '--config', caller)
    expect([down.status, down.text]).to.satisfy(
      ([code, text]: [number, string]) => code === 69 && text.includes('DIAL_FAILED'),
    )
    await daemons.startGateway()
    const none = await daemons.run('gateway', 'clusters', 'list', '--config', caller)
    expect([none.status, none.text.trim()]).to.deep.equal([0, 'no cluster is connected'])
    const unknown = await daemons.run(
      'gateway',
      'call',
      'c-1',
      'no.Such/Method',
      '--config',
      caller,
    )
    expect(unknown.text).to.include('grpc.health.v1.Health/Check')
    const self = await daemons.run(
      'gateway',
      'call',
      '-',
      'grpc.health.v1.Health/Check',
      '--json',
      '--config',
      caller,
    )
    expect(self.text.trim()).to.equal('{"status":"SERVING"}')
    const taken = await daemons.run('gateway', 'run', '--config', await daemons.settings('gateway'))
    expect([taken.status, taken.text]).to.satisfy(
      ([code, text]: [number, string]) => code === 69 && text.includes('LISTEN_FAILED'),
    )
  })
})

/** A proxy that can stop passing anything on, in both directions, without closing. */
async function blackhole(
  target: number,
): Promise<{ port: number; swallow: () => void; close: () => void }> {
  const port = await freePort()
  let isSwallowing = false
  const sockets: Socket[] = []
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    sockets.push(near, far)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk) => {
        if (!isSwallowing) to.write(chunk)
      })
      from.on('error', () => undefined)
      from.on('close', () => {
        if (!isSwallowing) to.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    port,
    swallow: () => {
      isSwallowing = true
    },
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
