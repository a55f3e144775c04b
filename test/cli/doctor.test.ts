import { expect } from 'chai'
import { writeFileSync } from 'node:fs'
import { createServer as createPlainServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { doctorSteps } from '../../src/agent/doctor/doctor.ts'
import type { CheckStep } from '../../src/agent/doctor/certificate-steps.ts'
import { statusNow } from '../support/status-now.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { runCli } from '../support/run-cli.ts'

const HOUR_MS = 3_600_000

describe('agent doctor', function () {
  let plane: ControlPlane
  const servers: Server[] = []

  beforeEach(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
  })
  afterEach(() => {
    plane.stop()
    for (const server of servers.splice(0)) server.close()
  })

  async function run(more: Readonly<Record<string, string>> = {}) {
    const config = join(plane.folder, 'doctor.yaml')
    const settings = {
      gateway: { address: `localhost:${String(plane.addresses.agents.port)}` },
      trustDomain: DOMAIN,
      state: { directory: plane.stateOf('a-1') },
    }
    writeFileSync(config, JSON.stringify(settings))
    const flags = Object.entries(more).flatMap(([name, value]) => [`--${name}`, value])
    const { status, stdout } = await runCli('agent', [
      'doctor',
      '--json',
      '--config',
      config,
      ...flags,
    ])
    const { steps } = JSON.parse(stdout) as { steps: CheckStep[] }
    const failures = steps.filter(({ outcome }) => outcome === 'FAIL')
    return { status, steps, failures }
  }
  async function listening(server: Server): Promise<string> {
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `localhost:${String((server.address() as AddressInfo).port)}`
  }

  it('finds nothing wrong where nothing is, and says what it measured', async () => {
    const { status, steps } = await run()
    expect(status).to.equal(0)
    const names = ['files', 'chain', 'validity', 'dns', 'tcp', 'tls', 'session', 'clock', 'verdict']
    expect([...new Set(steps.map(({ name }) => name))]).to.deep.equal(names)
    expect(steps.find(({ name }) => name === 'session')?.text).to.match(/round trip \d/)
    expect(steps.find(({ name }) => name === 'tls')?.text).to.include('TLSv1.3')
    expect(plane.gateway.registry.tunnelCount).to.equal(0)
  })

  it('names the step that fails, its cause, and what to do', async () => {
    const cases: readonly (readonly [string, Record<string, string>, string, RegExp])[] = [
      [
        'a name that does not resolve',
        { 'gateway-address': 'nowhere.invalid:1' },
        'dns',
        /NAME_NOT_RESOLVED/,
      ],
      ['a port that is closed', { 'gateway-address': 'localhost:1' }, 'tcp', /DIAL_FAILED/],
      [
        'a server without TLS',
        {
          'gateway-address': await listening(
            createPlainServer((socket) => {
              socket.on('error', () => undefined)
              socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
            }),
          ),
        },
        'tls',
        /TLS_/,
      ],
      ['another trust domain', { 'trust-domain': 'other.test' }, 'tls', /IDENTITY_TRUST_DOMAIN/],
      [
        'another name',
        { 'gateway-server-name': 'other.test' },
        'tls',
        /CERT_NAME.*it names localhost/,
      ],
      ['no identity', { 'state-directory': join(plane.folder, 'none') }, 'files', /NOT_ENROLLED/],
    ]
    for (const [what, flags, step, cause] of cases) {
      const { status, failures } = await run(flags)
      expect(status, what).to.equal(1)
      const found = failures.find(({ name }) => name === step)
      expect(found?.text, what).to.match(cause)
      expect(found?.fix, what).to.be.a('string')
    }
  })

  it('names a proxy that re-signs TLS by its issuer', async () => {
    const other = await ControlPlane.start()
    try {
      const { certificatePem: cert, keyPem: key } = other.gateway.own.credential
      const server = createServer({ cert, key, ALPNProtocols: ['postern/1'] }, (socket) =>
        socket.on('error', () => undefined),
      )
      const { failures } = await run({ 'gateway-address': await listening(server) })
      const found = failures.find(({ name }) => name === 'tls')
      expect(found?.text).to.include('CERT_UNTRUSTED').and.to.include('its issuer is CN=')
    } finally {
      other.stop()
    }
  })

  it('says that the gateway has something against the certificate, and what', async () => {
    await plane.command('certs', 'revoke', '--cluster', 'c-1')
    await plane.gateway.access?.refresh()
    const { failures } = await run()
    expect(failures.map(({ name }) => name)).to.deep.equal(['session', 'verdict'])
    expect(failures[1]?.text).to.include('revoked')
  })

  it('and status show a clock that is wrong, by how much and which side', async () => {
    const slow = { ...systemClock, wallMs: () => systemClock.wallMs() - HOUR_MS / 4 }
    const { settings } = plane.makeAgent('a-1')
    const ambient = { clock: slow, random: systemRandom, logger: silentLogger }
    const steps: CheckStep[] = []
    for await (const step of doctorSteps(settings, ambient)) steps.push(step)
    const clock = steps.find(({ name }) => name === 'clock')
    expect(clock?.outcome).to.equal('WARN')
    expect(clock?.text).to.match(/gateway's is 9\d\d\.\d s ahead of ours/)
    // Our certificate begins five minutes before it was made: by this clock not yet.
    const validity = steps.find(({ name }) => name === 'validity')
    expect(validity?.outcome).to.equal('FAIL')
    expect(validity?.text).to.match(/valid from .* our clock says/)
    const { Agent } = await import('../../src/agent/agent.ts')
    const agent = new Agent(settings, ambient)
    plane.agents.push(agent)
    agent.start()
    await eventually(() => agent.changes.clockSkewMs !== undefined, 'the gateway told its time')
    expect(statusNow(agent, slow.wallMs()).reasons.join()).to.match(/our clock is 9\d\d s behind/)
  })
})
