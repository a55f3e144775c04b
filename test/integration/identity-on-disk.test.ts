import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { joinWhenNeeded } from '../../src/agent/enrolment/join.ts'
import { agentMetrics } from '../../src/agent/control/metrics.ts'
import { statusNow } from '../support/status-now.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { gatewayMetrics } from '../../src/gateway/control/metrics.ts'
import { KeyProtection } from '../../src/identity/key-protection.ts'
import { MonitorListener } from '../../src/transport/monitor-listen.ts'
import { codeOf, rejection } from '../support/code-of.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { runToolBeside } from '../support/openssl.ts'
import { GATEWAY } from '../support/pki.ts'

describe('an identity', function () {
  let plane: ControlPlane

  beforeEach(async () => {
    plane = await ControlPlane.start()
  })
  afterEach(() => {
    plane.stop()
  })

  const isUp = (of: Agent) => eventually(() => of.tunnel.state.name === 'ready', 'the tunnel is up')
  const NAMES = ['chain.pem', 'key.pem', 'bundle.pem']

  describe('that somebody else manages (identity.source: files)', () => {
    let outside: string
    let serial = 0
    const flags = () => ({
      'identity.source': 'files',
      'identity.certificateFile': join(outside, 'data/chain.pem'),
      'identity.keyFile': join(outside, 'data/key.pem'),
      'identity.bundleFile': join(outside, 'data/bundle.pem'),
    })
    /** As Kubernetes changes a volume: a new folder, to which a link is switched by a rename. */
    function publish(from: string): void {
      const folder = join(outside, `v-${String(++serial)}`)
      mkdirSync(folder, { recursive: true })
      for (const name of NAMES)
        cpSync(join(plane.stateOf(from), 'current', name), join(folder, name))
      rmSync(join(outside, 'next'), { force: true })
      symlinkSync(folder, join(outside, 'next'))
      renameSync(join(outside, 'next'), join(outside, 'data'))
    }

    beforeEach(async () => {
      outside = join(plane.folder, 'outside')
      await plane.enroll('a-1')
      publish('a-1')
    })

    it('is used, watched, and taken over without a dropped call when it changes', async () => {
      const agent = plane.startAgent('none', flags())
      await isUp(agent)
      expect(agent.changes.renewal).to.equal(undefined)
      const before = agent.tunnel.state
      const { renewal } = plane.makeAgent('a-1').changes
      await renewal?.renewNow()
      publish('a-1')
      await eventually(() => agent.tunnel.state !== before, 'another tunnel')
      expect(agent.tunnel.state.name).to.equal('ready')
      await eventually(() => plane.gateway.registry.tunnelCount === 1, 'the first one is gone')
    })

    it('stays as it was while what lies there is not in order, which status tells', async () => {
      const agent = plane.startAgent('none', flags())
      await isUp(agent)
      const before = agent.tunnel.state
      const chain = join(outside, 'data/chain.pem')
      const whole = readFileSync(chain, 'utf8')
      writeFileSync(chain, whole.slice(0, 300))
      await rejection(agent.reload(), 'CERTIFICATE_UNUSABLE')
      await eventually(
        () => statusNow(agent, Date.now()).reasons.join().includes('not in order'),
        'status tells',
      )
      expect(agent.tunnel.state).to.equal(before)
      chmodSync(join(outside, 'data/key.pem'), 0o644)
      writeFileSync(chain, whole)
      await rejection(agent.reload(), 'KEY_EXPOSED')
      chmodSync(join(outside, 'data/key.pem'), 0o600)
      await agent.reload()
      expect(agent.tunnel.state).to.equal(before)
    })

    it('is refused where settings contradict one another', () => {
      const state = { 'identity.source': 'enrolled' }
      codeOf(() => plane.makeAgent('a-1', { ...flags(), ...state }), 'CONFIG_INVALID')
      codeOf(() => plane.makeAgent('a-1', { 'identity.source': 'files' }), 'CONFIG_INVALID')
    })
  })

  describe('that agent run gets for a token by itself', () => {
    const log = new LogRecorder()
    const ambient = { clock: systemClock, random: systemRandom, logger: log }
    function settings(more: Readonly<Record<string, string>> = {}): AgentSettings {
      return loadSettings(AGENT_SETTINGS, {
        flags: {
          'gateway.address': `localhost:${String(plane.addresses.agents.port)}`,
          trustDomain: DOMAIN,
          'state.directory': plane.stateOf('new'),
          'join.gateway': plane.enrollUrl,
          'join.tokenFile': join(plane.folder, 'token'),
          'join.caPins': JSON.stringify([plane.init.pin]),
          'backoff.min': '10ms',
          'backoff.max': '100ms',
          ...more,
        },
        environment: {},
        file: undefined,
      }).values
    }
    const never = new AbortController().signal

    it('waits for the token, retries, and goes on after a crash between its steps', async () => {
      const joined = joinWhenNeeded(
        settings({ 'join.gateway': 'https://localhost:1' }),
        ambient,
        AbortSignal.timeout(500),
      )
      await joined
      expect(log.lines.some(({ message }) => message.includes('could not enrol'))).to.equal(true)
      // The key of a request that was under way is there, as after a kill.
      expect(existsSync(join(plane.stateOf('new'), 'current'))).to.equal(false)
      const { token } = await plane.token({ agent: 'new' })
      writeFileSync(join(plane.folder, 'token'), token)
      await joinWhenNeeded(settings(), ambient, never)
      await isUp(plane.startAgent('new'))
      rmSync(join(plane.folder, 'token'))
      await joinWhenNeeded(settings(), ambient, never)
    })

    it('takes another token when the first is refused, and stops when it is told to', async () => {
      writeFileSync(join(plane.folder, 'token'), 'postern_nonsense')
      const stop = new AbortController()
      const joining = joinWhenNeeded(settings(), ambient, stop.signal)
      await eventually(
        () => log.lines.some(({ facts }) => facts.code === 'TOKEN_REFUSED'),
        'it is refused',
      )
      stop.abort()
      await joining
      expect(existsSync(join(plane.stateOf('new'), 'current'))).to.equal(false)
    })

    it('needs a pin or a bundle, and says what is missing', async () => {
      await rejection(
        joinWhenNeeded(settings({ 'join.caPins': '[]' }), ambient, never),
        'CONFIG_INVALID',
      )
      await rejection(
        joinWhenNeeded(settings({ 'join.caPins': '["sha256:00"]' }), ambient, never),
        'CONFIG_INVALID',
      )
      const none = { ...settings(), 'join.gateway': undefined }
      await rejection(joinWhenNeeded(none, ambient, never), 'NOT_ENROLLED')
    })

    it('is there after kill -9 at any moment of the first start, by one more start', async () => {
      const { token } = await plane.token({ agent: 'killed' })
      writeFileSync(join(plane.folder, 'token'), token)
      const daemons = await Daemons.create()
      const config = join(plane.folder, 'killed.yaml')
      const text = {
        gateway: { address: `localhost:${String(plane.addresses.agents.port)}` },
        trustDomain: DOMAIN,
        state: { directory: plane.stateOf('killed') },
        status: { socket: join(plane.folder, 'killed.sock') },
        join: {
          gateway: plane.enrollUrl,
          tokenFile: join(plane.folder, 'token'),
          caPins: [plane.init.pin],
        },
      }
      writeFileSync(config, JSON.stringify(text))
      try {
        // Without its token it waits, says so, and goes on once that is there.
        renameSync(join(plane.folder, 'token'), join(plane.folder, 'later'))
        const waiting = daemons.start('agent', 'run', '--config', config)
        await waiting.waitFor('could not enrol', 50000)
        const asked = await daemons.run('agent', 'status', '--config', config)
        expect([asked.status, asked.text]).to.satisfy(
          ([exit, told]: [number, string]) => exit === 1 && told.includes('not enrolled yet'),
          asked.text,
        )
        expect(waiting.process.exitCode).to.equal(null)
        waiting.process.kill('SIGKILL')
        await waiting.ended
        renameSync(join(plane.folder, 'later'), join(plane.folder, 'token'))
        // Spread over the time that a start and its enrolment take.
        for (const delayMs of [250, 320, 380, 430, 480, 540]) {
          const child = daemons.start('agent', 'run', '--config', config)
          await new Promise((resolve) => setTimeout(resolve, delayMs))
          child.process.kill('SIGKILL')
          await child.ended
        }
        const agent = daemons.start('agent', 'run', '--config', config)
        await agent.waitFor('the tunnel is up', 150000)
        const { status, text: shown } = await daemons.run('agent', 'status', '--config', config)
        expect([status, shown]).to.satisfy(
          ([exit, told]: [number, string]) => exit === 0 && told.includes('/agent/killed'),
          shown,
        )
        process.kill(agent.process.pid ?? 0, 'SIGHUP')
        await agent.waitFor('reloaded', 50000)
      } finally {
        daemons.stop()
      }
    })
  })

  it('goes on with the tunnel where the disk is full or read-only, and says so', async function () {
    if (process.getuid?.() !== 0) throw new Error('needs root, for a file system of its own')
    await plane.enroll('a-1')
    const state = plane.stateOf('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    const disk = join(plane.folder, 'disk')
    mkdirSync(disk)
    const mount = (...args: string[]) => spawnSync('mount', args).status
    expect(mount('-t', 'tmpfs', '-o', 'size=64k', 'none', disk)).to.equal(0)
    try {
      cpSync(state, join(disk, 'a-1'), { recursive: true, verbatimSymlinks: true })
      spawnSync('sh', ['-c', `head -c 64k /dev/zero > ${join(disk, 'fill')}`])
      const full = plane.startAgent('a-1', { 'state.directory': join(disk, 'a-1') })
      await isUp(full)
      const error = await rejection(
        full.changes.renewal?.renewNow() ?? Promise.resolve(),
        'STATE_UNWRITABLE',
      )
      expect(error.message).to.include('the disk is full')
      expect(mount('-o', 'remount,ro', disk)).to.equal(0)
      const readOnly = await rejection(
        full.changes.renewal?.renewNow() ?? Promise.resolve(),
        'STATE_UNWRITABLE',
      )
      expect(readOnly.message).to.include('read-only')
      expect(full.tunnel.state.name).to.equal('ready')
      expect(statusNow(full, Date.now()).certificate.renewalError?.code).to.equal(
        'STATE_UNWRITABLE',
      )
    } finally {
      spawnSync('umount', [disk])
    }
  })

  it('asks for its passphrase at start and reload alone, and goes over to another one whole', async () => {
    const count = join(plane.folder, 'count')
    const secret = join(plane.folder, 'secret')
    writeFileSync(secret, 'one')
    writeFileSync(count, '')
    await plane.enroll('a-1', { protection: new KeyProtection('one') })
    const command = ['sh', '-c', `echo x >> ${count}; cat ${secret}`]
    const flags = { 'identity.passphraseCommand': JSON.stringify(command) }
    const agent = plane.startAgent('a-1', flags)
    await isUp(agent)
    const runs = (): number => readFileSync(count, 'utf8').length / 2
    expect(runs()).to.equal(1)
    // Two looks at the files later.
    await new Promise((resolve) => setTimeout(resolve, 11_000))
    expect(runs()).to.equal(1)
    // Whoever changes the passphrase seals the key anew, and says reload.
    const file = join(plane.stateOf('a-1'), 'current/key.pem')
    const key = new KeyProtection('one').open(readFileSync(file, 'utf8'), file)
    const sealed = await new KeyProtection('two').seal(key)
    writeFileSync(secret, 'two')
    writeFileSync(file, sealed)
    await agent.reload()
    expect(runs()).to.equal(2)
    await agent.changes.renewal?.renewNow()
    new KeyProtection('two').open(readFileSync(file, 'utf8'), file)
    agent.stop()
    await isUp(plane.startAgent('a-1', flags))
  })

  it('of a gateway, managed by somebody else, is taken over on SIGHUP, and stays where it is not in order', async () => {
    const daemons = await Daemons.create()
    try {
      const files = await daemons.pki.issue(GATEWAY)
      const gateway = await daemons.startGateway({ identity: files })
      const served = async (): Promise<string> => {
        const args = [
          's_client',
          '-connect',
          `127.0.0.1:${String(daemons.agentPort)}`,
          '-showcerts',
        ]
        return await runToolBeside('sh', ['-c', `openssl ${args.join(' ')} </dev/null 2>/dev/null`])
      }
      const leafIn = (text: string) => /-----BEGIN CERTIFICATE-----[^-]+/.exec(text)?.[0]
      const first = leafIn(await served())
      const next = await daemons.pki.issue(GATEWAY)
      cpSync(next.certificateFile, files.certificateFile)
      gateway.process.kill('SIGHUP')
      await gateway.waitFor('could not reload', 50000)
      expect(leafIn(await served())).to.equal(first)
      cpSync(next.keyFile, files.keyFile)
      gateway.process.kill('SIGHUP')
      await gateway.waitFor('"reloaded"', 50000)
      expect(leafIn(await served())).not.to.equal(first)
    } finally {
      daemons.stop()
    }
  })

  it('shows in metrics of both daemons how long it lasts', async () => {
    await plane.enroll('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    await agent.changes.renewal?.renewNow()
    const read = async (metrics: ReturnType<typeof agentMetrics>): Promise<string> => {
      const state = () => ({ isReady: true, isAlive: true, text: '' })
      const listener = new MonitorListener(
        { host: '127.0.0.1', port: 0 },
        {
          ...{ metrics, state, setting: 'metrics.listen' as const },
        },
      )
      const { port } = await listener.listen()
      const address = `http://127.0.0.1:${String(port)}`
      const text = await runToolBeside('curl', ['-sS', `${address}/metrics`])
      expect(await runToolBeside('curl', ['-sS', `${address}/other`])).to.include('GET /metrics')
      listener.close()
      return text
    }
    const valueOf = (text: string, name: string): number =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      )
    const own = await read(agentMetrics(agent, systemClock))
    expect(valueOf(own, 'postern_certificate_expiry_seconds')).to.be.within(86_000, 86_401)
    expect(own).to.include('postern_certificate_renewals_total{result="succeeded"} 1')
    expect(valueOf(own, 'postern_tunnel_up')).to.equal(1)
    expect(Math.abs(valueOf(own, 'postern_clock_skew_seconds'))).to.be.lessThan(2)
    const gateway = await read(gatewayMetrics(plane.gateway, systemClock))
    for (const certificate of ['gateway', 'agents-ca', 'gateways-ca', 'root'])
      expect(gateway).to.include(`postern_certificate_expiry_seconds{certificate="${certificate}"}`)
    expect(valueOf(gateway, 'postern_agent_certificate_expiry_seconds_min')).to.be.greaterThan(0)
    expect(gateway).to.include('postern_enrolment_answers_total{result="issued"} 1')
    expect(gateway).to.include('postern_ca_generations{phase="active"} 1')
  })
})
