import { expect } from 'chai'
import { connect } from 'node:net'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { agentMetrics } from '../../src/agent/control/metrics.ts'
import { ConnectorStack } from '../support/cloudflare/connector-stack.ts'
import { tokenText } from '../support/cloudflare/front.ts'
import { writeFileSync } from 'node:fs'
import { eventually } from '../support/eventually.ts'
import { noteText } from '../support/seen.ts'
import { statusNow } from '../support/status-now.ts'

const MIB = 1024 * 1024

describe('an agent that supervises cloudflared', function () {
  this.timeout(180_000)
  let at: ConnectorStack
  beforeEach(async () => {
    at = await ConnectorStack.start()
  })
  afterEach(() => {
    at.stop()
  })

  const isAlive = (pid: number): boolean => {
    try {
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))
    } catch {
      return false
    }
  }

  it('carries its tunnel, which it still begins as the client of TLS', async () => {
    const agent = await at.startAgent()
    await eventually(() => at.connector(agent).state === 'ready', 'it is ready')
    await at.echo(3 * MIB)
    const { tunnel } = statusNow(agent, Date.now())
    const expected = { via: 'cloudflare-connector', gateway: 'gw-1', tlsVersion: 'TLSv1.3' }
    expect(tunnel).to.include(expected)
    const connector = at.connector(agent)
    expect(connector).to.include({ starts: 1, protocol: 'http2', refused: 0, pinned: false })
    expect(connector.connections).to.be.greaterThan(0)
    // Another connection waits at once, so that a tunnel can be replaced without a gap.
    await eventually(() => at.connector(agent).waiting === 1, 'the next one waits')
    expect(await agent.tunnels.replace()).to.equal(true)
    await at.echo(100)
    expect(at.edge.registrations[0]).to.include({ accountTag: 'account' })
  })

  it('passes its metrics on, those of its own families and no other', async () => {
    const agent = await at.startAgent()
    await eventually(() => at.connector(agent).state === 'ready', 'it is ready')
    const text = await agentMetrics(agent, at.stack.clock).text()
    expect(text)
      .to.include('postern_agent_tunnels_by_way{way="cloudflare-connector"} 1\n')
      .and.include('postern_connector_ready 1\n')
      .and.include('postern_connector_starts_total 1\n')
      .and.match(/^cloudflared_tunnel_ha_connections 2$/m)
      .and.not.match(/^(?:build_info|go_|process_)/m)
      .and.not.include('postern_lockdown 7')
  })

  it('gives it nothing of its own environment, and no secret to see', async () => {
    const agent = await at.startAgent()
    const { pid } = at.connector(agent)
    const [words, variables] = ['cmdline', 'environ'].map((name) =>
      readFileSync(`/proc/${String(pid)}/${name}`, 'latin1').split('\0'),
    )
    const token = readFileSync(at.tokenFile, 'utf8')
    expect(words?.join(' ')).to.include('--no-autoupdate').and.not.include(token)
    const names = (variables ?? [])
      .map((one) => one.split('=')[0] ?? '')
      .filter((one) => one !== '')
    // What the shell of this test's program sets is there too.
    expect(
      names.filter(
        (name) => !/^(?:TUNNEL_EDGE|TUNNEL_CACERT|FAKE_SELF|PWD|OLDPWD|SHLVL|_)$/.test(name),
      ),
    ).to.have.members(['PATH', 'TUNNEL_NO_PRECHECKS', 'TUNNEL_TRANSPORT_PROTOCOL'])
    expect(JSON.stringify(at.stack.log.lines)).to.not.include(token)
  })

  it('comes back when the edge drops it, it is killed, or hangs', async () => {
    const agent = await at.startAgent()
    at.edge.drop()
    await at.untilDown(agent)
    await at.untilUp(agent)
    const killed = at.connector(agent).pid
    process.kill(killed, 'SIGKILL')
    await at.untilDown(agent)
    await at.untilUp(agent)
    expect(isAlive(killed)).to.equal(false)
    const { pid } = at.connector(agent)
    process.kill(pid, 'SIGSTOP')
    // What hangs holds its connections: the silence of the session tells, or its being replaced.
    await eventually(() => !isAlive(pid), 'it is replaced')
    await eventually(() => at.connector(agent).pid > 0, 'another runs')
    await at.untilUp(agent)
    await at.echo(100)
  })

  it('replaces one whose token is not taken, and says so', async () => {
    at.edge.refusal = 'Unauthorized: Failed to get tunnel'
    const agent = await at.dialAgent()
    const reason = await eventually(() => {
      const { reason: found, state } = at.connector(agent)
      return state === 'waiting' && found?.includes('Unauthorized') === true && found
    }, 'it says why')
    expect(reason).to.include('cloudflared.tokenFile')
    const error = await eventually(() => {
      const { lastError } = agent.tunnel
      return lastError?.code === 'CONNECTOR_FAILED' && lastError
    }, 'the tunnel says so')
    noteText(error.code)
    expect(statusNow(agent, Date.now()).ways[0]?.failure).to.include('Unauthorized')
    at.edge.refusal = undefined
    await at.untilUp(agent)
    expect(at.connector(agent).starts).to.be.greaterThan(1)
  })

  it('replaces one that does not become ready in time', async () => {
    at.edge.isMute = true
    const agent = await at.dialAgent({ 'cloudflared.startTimeout': '2s' })
    await eventually(() => at.connector(agent).starts > 1, 'it is started again')
    expect(at.connector(agent).pid).to.not.equal(0)
    at.edge.isMute = false
    at.edge.drop()
    await at.untilUp(agent)
  })

  it('lets no other process of the machine in at the port that it brings gateways to', async () => {
    const agent = await at.startAgent()
    const { port = 0 } = agent.tunnels.report().ways.connector ?? {}
    for (let i = 0; i < 40; i++) {
      const stranger = connect(port, '127.0.0.1')
      stranger.on('error', () => undefined)
      await once(stranger, 'close')
    }
    // Also by an IPv6 socket: an address of IPv4 within one of IPv6.
    const mapped = connect(port, '::ffff:127.0.0.1')
    mapped.on('error', () => undefined)
    await once(mapped, 'close')
    expect(at.connector(agent)).to.include({ refused: 41 })
    expect(await agent.tunnels.replace()).to.equal(true)
    await at.echo(100)
  })

  it('notices what is changed on the way, by its own TLS', async () => {
    const agent = await at.startAgent()
    at.edge.isTampering = true
    await at.echo(100).then(
      () => expect.fail('it came through'),
      () => undefined,
    )
    await eventually(() => agent.tunnel.lastError, 'it is noticed')
    at.edge.isTampering = false
    await at.untilUp(agent)
    await at.echo(100)
  })

  it('says at the gateway what the front has against it', async () => {
    const agent = await at.startAgent()
    const failureOf = (): string =>
      JSON.stringify(at.stack.gateway.report().fronts.map(({ failure }) => failure ?? ''))
    at.front.access = { id: 'new.access', secret: 'new' }
    // The session that is there goes on: only dials are judged.
    await at.echo(100)
    at.front.drop()
    await at.untilDown(agent)
    await eventually(() => failureOf().includes('FRONT_FORBIDDEN'), 'it is refused')
    const idle = await eventually(() => {
      const { lastError } = agent.tunnel
      return lastError?.code === 'CONNECTOR_IDLE' && lastError
    }, 'the agent says that nobody comes')
    noteText(idle.code)
    writeFileSync(at.front.tokenFile, tokenText(at.front.access))
    await at.untilUp(agent)
  })

  it('ends it with the agent, without leaving anything behind', async () => {
    const agent = await at.startAgent()
    const { pid } = at.connector(agent)
    const before = at.stack.log.lines.length
    await agent.drain()
    expect(isAlive(pid)).to.equal(false)
    expect(at.connector(agent).state).to.equal('stopped')
    // What it says of its own end is no fault.
    const told = at.stack.log.lines.slice(before)
    const warnings = told.filter(
      ({ level, facts }) => level === 'warn' && facts.component === 'cloudflared',
    )
    expect(warnings).to.deep.equal([])
  })

  it('ends one that an earlier run has left over, and no other process of that number', async () => {
    const agent = await at.startAgent()
    const { pid } = at.connector(agent)
    const note = join(at.stack.pki.folder, 'state/cloudflared.pid')
    const text = readFileSync(note, 'utf8')
    expect(text).to.match(new RegExp(`^${String(pid)} \\d+\\n$`))
    const { endOrphan } = await import('../../src/agent/carriers/orphans.ts')
    writeFileSync(note, `${String(pid)} 1\n`)
    expect(endOrphan(join(at.stack.pki.folder, 'state'))).to.equal(false)
    expect(isAlive(pid)).to.equal(true)
    writeFileSync(note, text)
    expect(endOrphan(join(at.stack.pki.folder, 'state'))).to.equal(true)
    await eventually(() => !isAlive(pid), 'it is ended')
    await at.untilUp(agent)
  })
})
