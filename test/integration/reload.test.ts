import { codeOfForward } from '../support/code-of-forward.ts'
import { allowAll } from '../support/allow-all.ts'
import { expect } from 'chai'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Child } from '../../scripts/child-processes.ts'
import type { StatusJson } from '../support/status-now.ts'
import { Diagnostics } from '../../src/client.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { Daemons, freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, CALLER, TRUST_DOMAIN } from '../support/pki.ts'

describe('a reload by SIGHUP', function () {
  let daemons: Daemons
  let agent: Child
  let file: string
  let identity: object
  let client: GatewayClient
  let target: Server

  beforeEach(async () => {
    daemons = await Daemons.create()
    await daemons.startGateway()
    identity = await daemons.pki.issue(AGENT)
    file = join(daemons.pki.folder, 'agent.yaml')
    target = createServer((socket) => socket.end())
    await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
    write({ allow: [{ caller: '*', methods: ['*'], services: ['*'] }] })
    agent = daemons.start('agent', 'run', '--config', file)
    await agent.waitFor('the tunnel is up', 150000)
    client = await dialGateway({
      address: { host: 'localhost', port: daemons.callerPort },
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
  })
  afterEach(() => {
    client.close()
    target.close()
    daemons.stop()
  })

  function write(more: object): void {
    const settings = {
      trustDomain: TRUST_DOMAIN,
      identity,
      gateway: { address: `localhost:${String(daemons.agentPort)}` },
      status: { socket: join(daemons.pki.folder, 'agent.sock') },
      state: { directory: join(daemons.pki.folder, 'state') },
      backoff: { min: '50ms', max: '500ms' },
      ...more,
    }
    writeFileSync(file, JSON.stringify(settings))
  }

  async function reload(more: object, words: string): Promise<void> {
    write(more)
    const before = agent.text.length
    agent.process.kill('SIGHUP')
    await eventually(() => agent.text.slice(before).includes(words), words)
  }

  async function status(): Promise<StatusJson> {
    const { text } = await daemons.run('agent', 'status', '--json', '--config', file)
    return JSON.parse(text.trim().split('\n').at(-1) ?? '') as StatusJson
  }

  const service = () => ({
    name: 'web',
    target: `tcp://127.0.0.1:${String((target.address() as AddressInfo).port)}`,
    dataType: 'service-traffic',
  })
  const forward = async () => {
    const socket = new PassThrough()
    setTimeout(() => socket.destroy(), 300)
    return await codeOfForward(client.cluster('c-1').forward('web', socket))
  }
  const EVERYTHING = allowAll()
  const WITH_WEB = allowAll([{ name: 'web' }])

  it('takes over services, probes and rules, while a call goes on', async () => {
    const diagnostics = client.cluster('c-1').service(Diagnostics)
    let got = 0
    const running = (async () => {
      for await (const { payload } of diagnostics.download({
        messages: 30,
        messageBytes: 1,
        intervalMs: 100,
      }))
        got += payload.length
    })()
    await eventually(() => got > 0, 'the call runs')
    expect(await forward()).to.equal('METHOD_UNKNOWN')
    const probes = [{ service: 'web', type: 'tcp', interval: '1s' }]
    await reload({ services: [service()], probes, allow: WITH_WEB }, 'reloaded')
    await eventually(
      async () =>
        (await client.getCluster('c-1')).tunnels.some(({ services }) => services.length === 1),
      'the gateway knows',
    )
    expect(await forward()).to.not.equal('METHOD_UNKNOWN')
    await eventually(async () => (await status()).services[0]?.health?.up, 'it is probed')
    await running
    expect(got).to.equal(30)
    await reload({ services: [service()], allow: [] }, 'reloaded')
    expect(await forward()).to.equal('POLICY_DENIED')
    const denied = await diagnostics
      .echo({})
      .catch((error: unknown) => (error as { code?: string }).code)
    expect(denied).to.equal('POLICY_DENIED')
    expect((await status()).events.map(({ text }) => text)).to.satisfy((texts: string[]) =>
      texts.some((text) => /^in force: .*allow/.test(text)),
    )
  })

  it('keeps what is in force when the file is bad, says so, and recovers', async () => {
    await reload(
      { allow: EVERYTHING, services: [{ name: 'web' }] },
      'what was there stays in force',
    )
    const { health, reasons } = await status()
    expect([health, reasons.join()]).to.satisfy(
      ([word, text]: [string, string]) =>
        word === 'degraded' &&
        /the settings on disk are not in force: \S+:1: services entry 1/.test(text),
    )
    await client.cluster('c-1').service(Diagnostics).echo({})
    const never = { ...service(), dataType: 'task-io' }
    await reload({ allow: EVERYTHING, services: [never] }, 'never crosses')
    await reload({ allow: EVERYTHING }, 'reloaded')
    expect((await status()).health).to.equal('healthy')
  })

  it('changes the level of the log, and names what needs a restart', async () => {
    await reload({ allow: EVERYTHING, log: { level: 'warn' } }, 'settings have changed')
    const before = agent.text.length
    agent.process.kill('SIGHUP')
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(agent.text.slice(before)).to.not.include('"level":"info"')
    await reload(
      { allow: EVERYTHING, backoff: { min: '60ms', max: '1s' } },
      'settings need a restart',
    )
    expect(agent.text).to.include('"reason":"backoff.min, backoff.max"')
  })

  it('goes to further gateways that the file names', async () => {
    const ports = { agents: await freePort(), callers: await freePort() }
    const second = await daemons.startGateway({
      identity: await daemons.pki.issue({
        role: 'gateway',
        trustDomain: TRUST_DOMAIN,
        region: 'r-1',
        gateway: 'gw-2',
      }),
      agents: { listen: `127.0.0.1:${String(ports.agents)}` },
      callers: { listen: `127.0.0.1:${String(ports.callers)}` },
      status: { socket: join(daemons.pki.folder, 'gw-2.sock') },
    })
    const gateway = {
      address: `localhost:${String(daemons.agentPort)}`,
      addresses: [`localhost:${String(ports.agents)}`],
    }
    await reload({ allow: EVERYTHING, gateway }, 'reloaded')
    await eventually(async () => {
      const { tunnels } = await status()
      return (
        tunnels
          .map((one) => one.gateway)
          .sort()
          .join() === 'gw-1,gw-2'
      )
    }, 'both')
    second.process.kill('SIGKILL')
  })
})
