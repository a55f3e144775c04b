import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConnectorStack } from '../support/cloudflare/connector-stack.ts'
import { EdgeStandIn } from '../support/cloudflare/edge.ts'
import { FrontStandIn } from '../support/cloudflare/front.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'

describe('commands on the ways through Cloudflare', function () {
  this.timeout(180_000)
  let at: ConnectorStack
  beforeEach(async () => {
    at = await ConnectorStack.start()
  })
  afterEach(() => {
    at.stop()
  })

  const settings = async (more: object): Promise<string> => {
    const { pki, agentPort } = at.stack
    const path = join(pki.folder, 'doctor.yaml')
    const files = await pki.issue(AGENT)
    const own = {
      gateway: { address: `localhost:${String(agentPort)}` },
      trustDomain: AGENT.trustDomain,
      identity: files,
      state: { directory: join(pki.folder, 'state') },
      status: { socket: join(pki.folder, 'agent.sock') },
      policy: {},
      allow: [],
    }
    writeFileSync(path, JSON.stringify({ ...own, ...more }))
    return path
  }
  const doctor = async (more: object): Promise<CliRun> =>
    await runCli('agent', ['doctor', '--config', await settings(more)])
  const front = (): object => ({
    address: `localhost:${String(at.front.port)}`,
    caFile: at.front.caFile,
    serviceTokenFile: at.front.tokenFile,
  })

  it('walk to the front and through it, and say what to do at each step that fails', async () => {
    at.front.routes.set(
      'localhost',
      at.front.toTcp(() => at.stack.agentPort),
    )
    const more = { via: ['cloudflare-dial'], cloudflare: front() }
    const good = await doctor(more)
    expect(good.status, good.stdout).to.equal(0)
    expect(good.stdout)
      .to.include('by cloudflare-dial:')
      .and.match(/OK +reach +localhost/)
      .and.match(/OK +access +localhost:\d+ opened a WebSocket/)
      .and.match(/OK +tls +spiffe:.*TLSv1\.3/)
      .and.match(/OK +session/)
    at.front.access = { id: 'abc.access', secret: 'another' }
    const refused = await doctor(more)
    expect([refused.status, refused.stdout.includes('OK    tls')]).to.deep.equal([1, false])
    expect(refused.stdout).to.match(/FAIL +access +FRONT_FORBIDDEN.*answered 403/)
    expect(refused.stdout).to.include('Security events of the zone')
    const bare = await doctor({ via: ['cloudflare-dial'] })
    expect(bare.stdout).to.match(/FAIL +front +CONFIG_INVALID.*needs cloudflare.address/)
  })

  it('look at what the connector needs, and ask the daemon for what it alone sees', async () => {
    const cloudflared = { path: at.program(), tokenFile: at.tokenFile }
    const { stdout } = await doctor({ via: ['cloudflare-connector'], cloudflared })
    expect(stdout)
      .to.match(/OK +cloudflared .*version 2026\.\d+\.\d+, not pinned/)
      .and.match(/OK +token +for tunnel 6ba7b810-9dad-11d1-80b4-00c04fd430c8/)
      .and.match(/reach +/)
      .and.match(/SKIP +session +the running agent alone can tell/)
    writeFileSync(join(at.stack.pki.folder, 'no-token'), 'nothing', { mode: 0o600 })
    const wrong = { path: '/nowhere/x', tokenFile: join(at.stack.pki.folder, 'no-token') }
    const bad = await doctor({ via: ['cloudflare-connector'], cloudflared: wrong })
    expect(bad.stdout)
      .to.match(/FAIL +cloudflared +CONNECTOR_MISSING/)
      .and.match(/FAIL +token +CONFIG_INVALID.*and nothing else/)
  })

  it('find cloudflared by the environment, where no setting names one', async () => {
    const path = at.program({}, 'cloudflared')
    const named = { via: ['cloudflare-connector'], cloudflared: { tokenFile: at.tokenFile } }
    const config = await settings(named)
    const run = async (environment: Record<string, string>): Promise<string> =>
      (await runCli('agent', ['doctor', '--config', config], environment)).stdout
    expect(await run({ CLOUDFLARED_BIN: path })).to.match(/OK +cloudflared/)
    expect(await run({ PATH: `/nowhere:${at.stack.pki.folder}` })).to.match(/OK +cloudflared/)
    expect(await run({ PATH: '/nowhere' })).to.match(/FAIL +cloudflared +CONNECTOR_MISSING: no cl/)
  })
})

describe('a daemon that supervises cloudflared', function () {
  this.timeout(180_000)

  it('leaves no orphan when it is killed, and shows it in its status', async () => {
    const daemons = await Daemons.create()
    const { folder } = daemons.pki
    const at = await ConnectorStack.start()
    const edge = await EdgeStandIn.start(folder)
    const front = await FrontStandIn.start(folder)
    try {
      await daemons.startGateway()
      const config = await daemons.settings('agent', {
        via: ['cloudflare-connector', 'direct'],
        cloudflared: {
          path: at.program({ TUNNEL_EDGE: `127.0.0.1:${String(edge.port)}` }),
          tokenFile: at.tokenFile,
          listen: '127.0.0.1:0',
          protocol: 'http2',
        },
        tunnel: { dialTimeout: '2s' },
      })
      const agent = daemons.start('agent', 'run', '--config', config)
      await agent.waitFor('cloudflared is started', 60_000)
      await agent.waitFor('the tunnel is up', 60_000)
      const { text } = await daemons.run('agent', 'status', '--config', config)
      expect(text)
        .to.match(/cloudflared +(?:starting|ready|not-ready)/)
        .and.match(/program +.*cloudflared 2026/)
        .and.match(/way +cloudflare-connector: failed .* CONNECTOR_IDLE/)
        .and.match(/way +direct: nothing against it/)
      const note = readFileSync(join(folder, 'state/cloudflared.pid'), 'utf8')
      const pid = note.split(' ')[0] ?? ''
      const isAlive = (): boolean => {
        try {
          return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
        } catch {
          return false
        }
      }
      expect(isAlive()).to.equal(true)
      agent.process.kill('SIGKILL')
      await eventually(() => !isAlive(), 'it ends with its parent')
    } finally {
      daemons.stop()
      edge.stop()
      front.stop()
      at.stop()
    }
  })
})
