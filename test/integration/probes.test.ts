import { expect } from 'chai'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Diagnostics, RpcError } from '../../src/client.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import { Daemons, freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { runToolBeside } from '../support/openssl.ts'
import { AGENT, CALLER, TRUST_DOMAIN } from '../support/pki.ts'

const MINUTE_MS = 60_000

describe('probes of a daemon', function () {
  let daemons: Daemons
  let port: number
  beforeEach(async () => {
    daemons = await Daemons.create()
    port = await freePort()
  })
  afterEach(() => {
    daemons.stop()
  })

  const health = async (...args: string[]) =>
    await daemons.run(
      'agent',
      'health',
      '--socket',
      join(daemons.pki.folder, 'agent.sock'),
      ...args,
    )
  const get = async (path: string): Promise<{ status: number; text: string }> => {
    const address = `http://127.0.0.1:${String(port)}${path}`
    const answer = await runToolBeside('curl', ['-sS', '-w', '%{http_code}', address])
    return { status: Number(answer.slice(-3)), text: answer.slice(0, -3) }
  }

  it('say of an agent that it is up, and down, and why', async () => {
    expect((await health()).status).to.equal(3)
    expect((await health('--live')).status).to.equal(3)
    const gateway = await daemons.startGateway()
    await daemons.startAgent({ metrics: { listen: `127.0.0.1:${String(port)}` } })
    expect(await health('--strict')).to.deep.equal({ status: 0, text: 'healthy\n' })
    expect(await get('/readyz')).to.deep.equal({ status: 200, text: 'healthy\n' })
    gateway.process.kill('SIGKILL')
    await eventually(async () => (await get('/readyz')).status === 503, 'it is not ready')
    const down = await get('/readyz')
    expect(down.text).to.match(/^down; the tunnel is /)
    expect((await get('/livez')).status).to.equal(200)
    expect((await health()).status).to.equal(1)
    expect((await health('--live')).status).to.equal(0)
  })

  it('tell a degraded agent from a healthy one only where they are strict', async () => {
    await daemons.startGateway()
    const now = Date.now()
    const identity = await daemons.pki.issue(AGENT, {
      notBefore: new Date(now - 10 * MINUTE_MS),
      notAfter: new Date(now + 2 * MINUTE_MS),
    })
    await daemons.startAgent({ identity, metrics: { listen: `127.0.0.1:${String(port)}` } })
    const degraded = await health()
    expect(degraded.status).to.equal(0)
    expect(degraded.text).to.match(/^degraded; our certificate expires in \d min\n$/)
    expect((await get('/readyz')).status).to.equal(200)
    expect((await health('--strict')).status).to.equal(1)
    expect((await health('--strict', '--live')).status).to.equal(64)
  })

  it('say of an agent that has not enrolled yet that it is alive', async () => {
    const file = join(daemons.pki.folder, 'agent.yaml')
    const settings = {
      trustDomain: 'cp.postern.test',
      gateway: { address: `localhost:${String(daemons.agentPort)}` },
      state: { directory: join(daemons.pki.folder, 'state') },
      status: { socket: join(daemons.pki.folder, 'agent.sock') },
      join: {
        gateway: `https://localhost:${String(port)}`,
        tokenFile: join(daemons.pki.folder, 'absent'),
        caPins: [`sha256:${'a'.repeat(64)}`],
      },
    }
    writeFileSync(file, JSON.stringify(settings))
    daemons.start('agent', 'run', '--config', file)
    await eventually(async () => (await health('--live')).status === 0, 'it answers')
    const down = await health()
    expect(down.status).to.equal(1)
    expect(down.text).to.match(/^down; not enrolled yet: /)
  })

  it('say of a gateway that it takes agents, and that it drains', async () => {
    const gateway = await daemons.startGateway({
      metrics: { listen: `127.0.0.1:${String(port)}` },
    })
    await daemons.startAgent()
    expect(await get('/readyz')).to.deep.equal({ status: 200, text: '1 tunnels of 1 clusters\n' })
    expect((await get('/livez')).status).to.equal(200)
    const other = await get('/other')
    expect(other.status).to.equal(404)
    expect(other.text).to.include('/readyz')
    const address = `http://127.0.0.1:${String(port)}/livez`
    expect(await runToolBeside('curl', ['-sS', '-X', 'POST', address])).to.include('GET /metrics')
    const client = await dialGateway({
      address: { host: 'localhost', port: daemons.callerPort },
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
    const endless = client
      .cluster('c-1')
      .service(Diagnostics)
      .download({ messages: 1000, messageBytes: 1, intervalMs: 100 })
    let count = 0
    const read = (async () => {
      for await (const { payload } of endless) count += payload.length
    })().catch((error: unknown) => error)
    await eventually(() => count > 0, 'the call runs')
    gateway.process.kill('SIGTERM')
    await eventually(async () => (await get('/readyz')).text.startsWith('draining'), 'it drains')
    expect((await get('/readyz')).status).to.equal(503)
    expect((await get('/livez')).status).to.equal(200)
    gateway.process.kill('SIGTERM')
    await gateway.ended
    expect(await read).to.be.instanceOf(RpcError)
    client.close()
  })
})
