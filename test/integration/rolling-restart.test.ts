import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Child } from '../../scripts/child-processes.ts'
import { Diagnostics, type GatewayPool } from '../../src/client.ts'
import { connectPool } from '../../src/caller/gateway-pool.ts'
import { Daemons, freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, CALLER, GATEWAY, TRUST_DOMAIN } from '../support/pki.ts'

const PYTHON = fileURLToPath(
  new URL('../../node_modules/.postern-venv/bin/python', import.meta.url),
)
const STEADY = fileURLToPath(new URL('../support/vendor/steady.py', import.meta.url))
const NAMES = ['1', '2'] as const
type Name = (typeof NAMES)[number]

describe('a rolling restart of two gateways and two agents', function () {
  let daemons: Daemons
  let gateways: GatewayPool
  let closeGateways = (): void => undefined
  let isOver = false
  const ports = new Map<Name, { agents: number; callers: number; api: number }>()

  beforeEach(async () => {
    daemons = await Daemons.create()
    for (const name of NAMES)
      ports.set(name, {
        agents: await freePort(),
        callers: await freePort(),
        api: await freePort(),
      })
  })
  afterEach(() => {
    // Calls of a test that has failed would fail for ever.
    isOver = true
    closeGateways()
    closeGateways = () => undefined
    daemons.stop()
  })

  const portsOf = (name: Name) => ports.get(name) ?? { agents: 0, callers: 0, api: 0 }
  const socketOf = (name: string) => join(daemons.pki.folder, `${name}.sock`)

  async function gateway(name: Name): Promise<Child> {
    const other = name === '1' ? '2' : '1'
    const file = join(daemons.pki.folder, `gw-${name}.yaml`)
    const settings = {
      trustDomain: TRUST_DOMAIN,
      identity: await daemons.pki.issue({ ...GATEWAY, gateway: `gw-${name}` }),
      agents: {
        listen: `127.0.0.1:${String(portsOf(name).agents)}`,
        address: `localhost:${String(portsOf(name).agents)}`,
      },
      peers: [{ gateway: `gw-${other}`, address: `localhost:${String(portsOf(other).agents)}` }],
      callers: { listen: `127.0.0.1:${String(portsOf(name).callers)}` },
      api: { listen: `127.0.0.1:${String(portsOf(name).api)}` },
      status: { socket: socketOf(`gw-${name}`) },
    }
    writeFileSync(file, JSON.stringify(settings))
    const child = daemons.start('gateway', 'run', '--config', file)
    await child.waitFor('gateway is listening', 150000)
    return child
  }

  async function agent(name: Name): Promise<Child> {
    const file = join(daemons.pki.folder, `a-${name}.yaml`)
    const settings = {
      trustDomain: TRUST_DOMAIN,
      identity: await daemons.pki.issue({ ...AGENT, agent: `a-${name}` }),
      gateway: { address: `localhost:${String(portsOf('1').agents)}` },
      status: { socket: socketOf(`a-${name}`) },
      state: { directory: join(daemons.pki.folder, `state-${name}`) },
      backoff: { min: '50ms', max: '500ms' },
      allow: [{ caller: '*', methods: ['*'], services: ['*'] }],
    }
    writeFileSync(file, JSON.stringify(settings))
    const child = daemons.start('agent', 'run', '--config', file)
    await healthy(name)
    return child
  }

  /** Both of its tunnels are up. */
  async function healthy(name: Name): Promise<void> {
    await eventually(
      async () =>
        (await daemons.run('agent', 'status', '--socket', socketOf(`a-${name}`))).status === 0,
      `agent ${name} is healthy`,
    )
  }

  function startCalls() {
    const diagnostics = gateways.cluster('c-1').service(Diagnostics)
    const failures: unknown[] = []
    const count = { calls: 0, streams: 0 }
    isOver = false
    const call = async (): Promise<void> => {
      while (!isOver)
        await diagnostics.echo({ payload: Buffer.alloc(100) }, { timeoutMs: 20_000 }).then(
          () => count.calls++,
          (error: unknown) => failures.push(error),
        )
    }
    const stream = async (): Promise<void> => {
      while (!isOver) {
        const wanted = { messages: 5, messageBytes: 100, intervalMs: 20 }
        try {
          let got = 0
          for await (const { payload } of diagnostics.download(wanted, { timeoutMs: 20_000 }))
            got += payload.length
          expect(got).to.equal(500)
          count.streams++
        } catch (error) {
          failures.push(error)
        }
      }
    }
    const running = Promise.all([...Array.from({ length: 8 }, call), stream(), stream()])
    return {
      count,
      stop: async (): Promise<readonly unknown[]> => {
        isOver = true
        await running
        return failures
      },
    }
  }

  it('fails no call by gRPC for Python', async () => {
    const running = { gateways: [await gateway('1'), await gateway('2')], agents: [] as Child[] }
    for (const name of NAMES) running.agents.push(await agent(name))
    const { certificateFile, keyFile, bundleFile } = await daemons.pki.issue(CALLER)
    const all = NAMES.map((name) => String(portsOf(name).api)).join()
    const caller = spawn(PYTHON, [STEADY, all, bundleFile, certificateFile, keyFile, 'c-1'])
    const said: string[] = []
    caller.stdout.on('data', (part: Buffer) => said.push(part.toString()))
    caller.stderr.on('data', (part: Buffer) => said.push(part.toString()))
    const ended = once(caller, 'exit')
    await eventually(() => said.join('').includes('calling'), 'it calls')
    for (const [index, name] of NAMES.entries()) {
      running.gateways[index]?.process.kill('SIGTERM')
      expect(await running.gateways[index]?.ended).to.equal(0)
      running.gateways[index] = await gateway(name)
      for (const one of NAMES) await healthy(one)
    }
    caller.stdin.end()
    await ended
    const found = JSON.parse(said.join('').split('\n').at(-2) ?? '') as {
      calls: number
      failures: string[]
    }
    expect(found.failures).to.deep.equal([])
    expect(found.calls).to.be.greaterThan(100)
  })

  it('fails no call', async () => {
    const running = { gateways: [await gateway('1'), await gateway('2')], agents: [] as Child[] }
    for (const name of NAMES) running.agents.push(await agent(name))
    gateways = await connectPool({
      addresses: NAMES.map((name) => ({ host: 'localhost', port: portsOf(name).callers })),
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
    closeGateways = () => {
      gateways.close()
    }
    await eventually(() => gateways.connectedCount === 2, 'both gateways')
    const load = startCalls()
    for (const [index, name] of NAMES.entries()) {
      const before = { ...load.count }
      running.gateways[index]?.process.kill('SIGTERM')
      expect(await running.gateways[index]?.ended).to.equal(0)
      running.gateways[index] = await gateway(name)
      for (const one of NAMES) await healthy(one)
      await eventually(() => gateways.connectedCount === 2, 'both gateways again')
      expect(load.count.calls).to.be.greaterThan(before.calls)
    }
    for (const [index, name] of NAMES.entries()) {
      running.agents[index]?.process.kill('SIGTERM')
      expect(await running.agents[index]?.ended).to.equal(0)
      running.agents[index] = await agent(name)
    }
    expect(await load.stop()).to.deep.equal([])
    expect(load.count.calls).to.be.greaterThan(1000)
    expect(load.count.streams).to.be.greaterThan(10)
  })

  it('gateway drain does the same from a shell, and says what is left', async () => {
    const first = await gateway('1')
    await gateway('2')
    await agent('1')
    gateways = await connectPool({
      addresses: NAMES.map((name) => ({ host: 'localhost', port: portsOf(name).callers })),
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
    closeGateways = () => {
      gateways.close()
    }
    const shown = await daemons.run('gateway', 'status', '--json', '--socket', socketOf('gw-1'))
    expect(shown.status).to.equal(0)
    expect(JSON.parse(shown.text)).to.include({ health: 'healthy', tunnels: 1, agents: 1 })
    const load = startCalls()
    await eventually(() => load.count.streams > 2, 'calls work')
    const drained = await daemons.run('gateway', 'drain', '--socket', socketOf('gw-1'))
    expect(drained.text).to.match(/draining: \d+ tunnels, \d+ running calls/)
    expect([drained.status, drained.text]).to.satisfy(
      ([status, text]: [number, string]) =>
        status === 0 && text.includes('the gateway has stopped'),
    )
    expect(await first.ended).to.equal(0)
    expect(await load.stop()).to.deep.equal([])
    const none = await daemons.run('gateway', 'status', '--socket', socketOf('gw-1'))
    expect([none.status, none.text]).to.satisfy(
      ([status, text]: [number, string]) => status === 3 && text.includes('DAEMON_NOT_RUNNING'),
    )
  })
})
