import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from '../../src/gen/grpc/health/v1/health_pb.js'
import { Diagnostics } from '../../src/gen/postern/v1/diagnostics_pb.js'
import { ACCESS, FrontStandIn, tokenText } from '../support/cloudflare/front.ts'
import { eventually } from '../support/eventually.ts'
import { Proxies } from '../support/proxies.ts'
import { noteText } from '../support/seen.ts'
import { Stack } from '../support/stack.ts'
import { statusNow } from '../support/status-now.ts'

const MIB = 1024 * 1024

describe('an agent that dials through Cloudflare', () => {
  let stack: Stack
  let front: FrontStandIn
  beforeEach(async () => {
    stack = await Stack.start()
    front = await FrontStandIn.start(stack.pki.folder)
    front.routes.set(
      'localhost',
      front.toTcp(() => stack.agentPort),
    )
  })
  afterEach(() => {
    expect(front.faults).to.deep.equal([])
    front.stop()
    stack.stop()
  })

  const flags = (more: Record<string, string> = {}): Record<string, string> => ({
    via: 'cloudflare-dial',
    'cloudflare.address': `localhost:${String(front.port)}`,
    'cloudflare.caFile': front.caFile,
    'cloudflare.serviceTokenFile': front.tokenFile,
    ...more,
  })
  const failureOf = async (more: Record<string, string> = {}): Promise<string> => {
    const agent = await stack.dialAgent(flags(more))
    const error = await eventually(() => agent.tunnel.lastError, 'it is refused')
    agent.stop()
    noteText(error.code)
    return error.code
  }
  const echo = async (bytes: number): Promise<void> => {
    const client = await stack.connect()
    const payload = Buffer.alloc(bytes, 'postern')
    const answer = await client
      .cluster('c-1')
      .service(Diagnostics)
      .echo({ payload }, { timeoutMs: 3000 })
    expect(Buffer.from(answer.payload).equals(payload)).to.equal(true)
  }

  it('has the tunnel, TLS and identities of a direct one', async () => {
    const agent = await stack.startAgent(flags())
    const { tunnel } = statusNow(agent, Date.now())
    expect(tunnel).to.include({ via: 'cloudflare-dial', gateway: 'gw-1', tlsVersion: 'TLSv1.3' })
    expect(tunnel.address).to.equal(`localhost:${String(front.port)}`)
    const client = await stack.connect()
    const health = await client.cluster('c-1').service(Health).check({})
    expect(health.status).to.equal(HealthCheckResponse_ServingStatus.SERVING)
    // Many times what a connector takes of one message.
    await echo(3 * MIB)
    expect(front.seen.at(-1)?.host).to.equal(`localhost:${String(front.port)}`)
  })

  it('says what the front has against it, each with its status and ray', async () => {
    front.access = { id: 'abc.access', secret: 'another' }
    expect(await failureOf()).to.equal('FRONT_FORBIDDEN')
    front.access = ACCESS
    const withoutToken = Object.fromEntries(
      Object.entries(flags()).filter(([key]) => key !== 'cloudflare.serviceTokenFile'),
    )
    const agent = await stack.dialAgent(withoutToken)
    const error = await eventually(() => agent.tunnel.lastError, 'it is refused')
    noteText(error.code)
    expect(error.code).to.equal('FRONT_LOGIN')
    expect(error.rawMessage).to.include('answered 302').and.include('cf-ray 8f00-LIS')
    agent.stop()
    const codes: string[] = []
    for (const status of [200, 400, 404, 426, 502, 530]) {
      front.refusal = { status }
      codes.push(await failureOf())
    }
    front.refusal = { status: 301, headers: { location: 'https://elsewhere.example.com/' } }
    codes.push(await failureOf())
    front.refusal = { status: 101, headers: { upgrade: 'websocket', connection: 'Upgrade' } }
    codes.push(await failureOf())
    expect(codes).to.deep.equal([
      ...['FRONT_NO_WEBSOCKET', 'FRONT_NO_WEBSOCKET', 'FRONT_REFUSED', 'FRONT_NO_WEBSOCKET'],
      ...['FRONT_REFUSED', 'FRONT_REFUSED', 'FRONT_REFUSED', 'FRONT_REFUSED'],
    ])
  })

  it('trusts no front but by its roots, and nothing of one that tampers', async () => {
    expect(await failureOf({ 'cloudflare.caFile': stack.pki.bundleFile })).to.equal(
      'CERT_UNTRUSTED',
    )
    const agent = await stack.startAgent(flags())
    front.isTampering = true
    await echo(100).then(
      () => expect.fail('it came through'),
      () => undefined,
    )
    await eventually(() => agent.tunnel.lastError, 'the inner TLS has noticed')
    front.isTampering = false
    await eventually(() => agent.tunnel.state.name === 'ready', 'it is back')
  })

  it('notices messages that were cut on the way, and goes over to another connection', async () => {
    const agent = await stack.startAgent(flags())
    front.copyBytes = 8000
    await echo(MIB).then(
      () => expect.fail('it came through'),
      () => undefined,
    )
    await eventually(() => agent.tunnel.lastError, 'the inner TLS has noticed')
    front.copyBytes = 16_384
    await eventually(() => agent.tunnel.state.name === 'ready', 'it is back')
    await echo(MIB)
  })

  it('comes back when the front drops it, and takes a token that was replaced', async () => {
    const agent = await stack.startAgent(flags())
    front.drop()
    await eventually(() => agent.tunnel.lastError, 'it is down')
    await eventually(() => agent.tunnel.state.name === 'ready', 'it is back')
    front.access = { id: 'new.access', secret: 'new' }
    front.drop()
    await eventually(() => agent.tunnel.lastError?.code === 'FRONT_FORBIDDEN', 'it is revoked')
    writeFileSync(front.tokenFile, tokenText(front.access))
    await eventually(() => agent.tunnel.state.name === 'ready', 'it is back')
  })

  it('goes out through proxies too, which see TLS to the front and nothing else', async () => {
    const { folder } = stack.pki
    const proxies = new Proxies(folder)
    try {
      const http = await proxies.tinyproxy('http', '')
      const socks = await proxies.microsocks('socks')
      for (const proxy of [`http://${http}`, `socks5://${socks}`]) {
        const agent = await stack.startAgent(flags({ 'gateway.proxy': proxy }))
        await echo(100)
        agent.stop()
      }
      const access = readFileSync(join(folder, 'http.access'), 'utf8')
      expect(access).to.include(`CONNECT localhost:${String(front.port)}`)
      expect(access).to.not.include(String(stack.agentPort))
    } finally {
      proxies.stop()
    }
  })

  it('falls back to the next way, and climbs up again', async () => {
    front.refusal = { status: 530 }
    const agent = await stack.startAgent({
      ...flags({ 'backoff.way': '500ms' }),
      via: 'cloudflare-dial,direct',
    })
    const viaNow = (): string => statusNow(agent, Date.now()).tunnel.via ?? ''
    expect(viaNow()).to.equal('direct')
    const [way] = statusNow(agent, Date.now()).ways
    expect(way?.failure).to.include('FRONT_REFUSED').and.include('answered 530')
    front.refusal = undefined
    await eventually(() => viaNow() === 'cloudflare-dial', 'it has climbed')
    expect(statusNow(agent, Date.now()).ways.map(({ failure }) => failure)).to.deep.equal([
      null,
      null,
    ])
    await echo(100)
  })
})
