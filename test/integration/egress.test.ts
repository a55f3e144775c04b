import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { Diagnostics } from '../../src/client.ts'
import { Egress } from '../../src/transport/egress.ts'
import { codeOf } from '../support/code-of.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { Proxies } from '../support/proxies.ts'
import { runCli } from '../support/run-cli.ts'

const PASSWORD = 'pa55-of-the-proxy'

describe('an egress proxy', function () {
  let plane: ControlPlane
  let folder: string
  let proxies: Proxies
  let http: string
  let locked: string
  let socks: string
  let lockedSocks: string

  before(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
    folder = mkdtempSync(join(tmpdir(), 'postern-proxy-'))
    writeFileSync(join(folder, 'password'), `${PASSWORD}\n`, { mode: 0o600 })
    proxies = new Proxies(folder)
    http = await proxies.tinyproxy('open', '')
    locked = await proxies.tinyproxy('locked', `BasicAuth edge ${PASSWORD}\n`)
    socks = await proxies.microsocks('socks')
    lockedSocks = await proxies.microsocks('locked-socks', '-u', 'edge', '-P', PASSWORD)
  })
  after(() => {
    proxies.stop()
    plane.stop()
    rmSync(folder, { recursive: true })
  })

  async function withAgent(
    flags: Readonly<Record<string, string>>,
    act: (agent: Agent) => Promise<void>,
  ): Promise<void> {
    const agent = plane.startAgent('a-1', { 'gateway.noProxy': '[]', ...flags })
    try {
      await act(agent)
    } finally {
      agent.stop()
      await eventually(() => plane.gateway.registry.tunnelCount === 0, 'the tunnel is gone')
    }
  }
  const isUp = (agent: Agent) =>
    eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')

  const passwordFile = () => ({ 'gateway.proxyPasswordFile': join(folder, 'password') })
  const WAYS: readonly (readonly [string, () => Readonly<Record<string, string>>])[] = [
    ['HTTP CONNECT', () => ({ 'gateway.proxy': `http://${http}` })],
    [
      'HTTP CONNECT with a password',
      () => ({ 'gateway.proxy': `http://edge@${locked}`, ...passwordFile() }),
    ],
    ['SOCKS5', () => ({ 'gateway.proxy': `socks5://${socks}` })],
    [
      'SOCKS5 with a password',
      () => ({ 'gateway.proxy': `socks5://edge@${lockedSocks}`, ...passwordFile() }),
    ],
  ]
  for (const [what, flags] of WAYS)
    it(`by ${what} carries the tunnel with its calls, renewal, recovery and diagnosis`, async () => {
      const client = await plane.connect()
      await withAgent(flags(), async (agent) => {
        await isUp(agent)
        const { state } = agent.tunnel
        if (state.name !== 'ready') throw new Error('no tunnel')
        // The certificate is judged as ever: the proxy sees TLS and nothing else.
        expect(state.connection.facts.identity.role).to.equal('gateway')
        const payload = Buffer.alloc(300_000, 7)
        const service = client.cluster('c-1').service(Diagnostics)
        const echo = await service.echo({ payload }, { timeoutMs: 10_000 })
        expect(Buffer.from(echo.payload).equals(payload)).to.equal(true)
        await agent.changes.renewal?.renewNow()
      })
      // Without a tunnel: over the enrolment address, through the same proxy.
      await plane.plant('off', { fromMs: Date.now() - 1e8, toMs: Date.now() - 1e6 })
      const off = plane.makeAgent('off', { 'gateway.noProxy': '[]', ...flags() })
      await off.changes.renewal?.renewNow()
    })

  it('lets agent enroll through, and doctor names it', async () => {
    const { token } = await plane.token()
    const tokenFile = join(folder, 'token')
    writeFileSync(tokenFile, token, { mode: 0o600 })
    const before = readFileSync(join(folder, 'open.access'), 'utf8').length
    const environment = { HTTPS_PROXY: `http://${http}` }
    const state = ['--state-directory', plane.stateOf('enrolled')]
    const enrolled = await runCli(
      'agent',
      [
        'enroll',
        '--gateway',
        plane.enrollUrl,
        '--token-file',
        tokenFile,
        '--ca-pin',
        plane.init.pin,
        ...state,
      ],
      environment,
    )
    expect([enrolled.status, enrolled.stderr.includes('error')]).to.deep.equal([0, false])
    const seen = readFileSync(join(folder, 'open.access'), 'utf8').slice(before)
    expect(seen).to.include('CONNECT localhost:')
    const address = `localhost:${String(plane.addresses.agents.port)}`
    const doctor = (more: Readonly<Record<string, string>>) =>
      runCli(
        'agent',
        ['doctor', '--gateway-address', address, '--trust-domain', 'cp.postern.test', ...state],
        more,
      )
    const fine = await doctor(environment)
    expect(fine.stdout).to.match(/OK +proxy +http:\/\/127\.0\.0\.1:\d+ connects to localhost/)
    expect(fine.status).to.equal(0)
    const refused = await doctor({ HTTPS_PROXY: `http://edge:wrong@${locked}` })
    expect(refused.status).to.equal(1)
    expect(refused.stdout).to.match(/FAIL +proxy +PROXY_REFUSED.*wants a user and password/)
    expect(refused.stdout).not.to.include('wrong')
  })

  it('is passed by for what NO_PROXY names', async () => {
    const before = readFileSync(join(folder, 'open.access'), 'utf8').length
    const flags = { 'gateway.proxy': `http://${http}`, 'gateway.noProxy': '["localhost"]' }
    await withAgent(flags, async (agent) => {
      await isUp(agent)
    })
    expect(readFileSync(join(folder, 'open.access'), 'utf8').slice(before)).not.to.include(
      'CONNECT',
    )
    const egress = new Egress({
      proxy: 'http://p:1',
      noProxy: ['.example.com', 'host.test', '10.0.0.0/8', '::1', '192.0.2.7'],
    })
    for (const [host, isDirect] of [
      ['example.com', true],
      ['a.b.EXAMPLE.com', true],
      ['notexample.com', false],
      ['host.test', true],
      ['host.test.evil', false],
      ['10.1.2.3', true],
      ['11.1.2.3', false],
      ['::1', true],
      ['::2', false],
      ['192.0.2.7', true],
    ] as const)
      expect(egress.proxyFor(host) === undefined, host).to.equal(isDirect)
    expect(new Egress({ proxy: 'p', noProxy: ['*'] }).proxyFor('any')).to.equal(undefined)
  })

  it('that is not there, refuses, or says nothing is named as such, and never its password', async () => {
    const mute: Server = createServer(() => undefined)
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    const muteAt = `127.0.0.1:${String((mute.address() as AddressInfo).port)}`
    const cases: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
      ['PROXY_UNREACHABLE', 'http://127.0.0.1:1', {}],
      ['PROXY_UNREACHABLE', 'socks5://127.0.0.1:1', {}],
      ['PROXY_REFUSED', `http://edge:${PASSWORD}x@${locked}`, {}],
      ['PROXY_REFUSED', `socks5://edge:${PASSWORD}x@${lockedSocks}`, {}],
      ['PROXY_UNREACHABLE', `http://${muteAt}`, { 'tunnel.dialTimeout': '300ms' }],
      ['PROXY_UNREACHABLE', `socks5://${muteAt}`, { 'tunnel.dialTimeout': '300ms' }],
    ]
    for (const [code, proxy, more] of cases)
      await withAgent({ 'gateway.proxy': proxy, ...more }, async (agent) => {
        const codes = code === 'PROXY_UNREACHABLE' ? [code, 'DIAL_TIMEOUT'] : [code]
        const error = await eventually(() => agent.tunnel.lastError, `${proxy}: it fails`)
        expect(error.code, proxy).to.be.oneOf(codes)
      })
    mute.close()
    expect(JSON.stringify(plane.agentLog.lines)).not.to.include(PASSWORD)
    for (const wrong of ['ftp://p:1', 'http://', '://'])
      codeOf(() => new Egress({ proxy: wrong }), 'CONFIG_INVALID')
    const error = codeOf(() => new Egress({ proxy: `ftp://u:${PASSWORD}@p` }), 'CONFIG_INVALID')
    expect(error.message).not.to.include(PASSWORD)
  })
})
