import { expect } from 'chai'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { MonitorListener } from '../../src/transport/monitor-listen.ts'
import { clientTls } from '../support/api-stack.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import type { LogRecorder } from '../support/log-recorder.ts'
import { CALLER, GATEWAY } from '../support/pki.ts'
import { Proxies, proxyHeader } from '../support/proxies.ts'
import { Stack } from '../support/stack.ts'

const TRUSTED = { trustedProxies: '["127.0.0.1"]' }
const SOURCE = { address: '192.0.2.7', port: 4711 }

function open(port: number, first: Buffer, from = '127.0.0.1'): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1', localAddress: from })
  socket.on('error', () => undefined)
  socket.resume()
  socket.write(first)
  return socket
}

async function refusalOf(log: LogRecorder, code: string, peer: string): Promise<unknown> {
  const line = await eventually(
    () => log.lines.find(({ facts }) => facts.code === code && String(facts.peer).startsWith(peer)),
    `${code} of ${peer}`,
  )
  return line.facts.reason
}

describe('behind load balancers', function () {
  let stack: Stack
  let proxies: Proxies
  beforeEach(async () => {
    stack = await Stack.start({
      ...TRUSTED,
      'api.listen': '127.0.0.1:0',
      'handshake.pendingMax': '40',
      'handshake.pendingPerAddressMax': '3',
      'handshake.timeout': '20s',
    })
    proxies = new Proxies(stack.pki.folder)
  })
  afterEach(() => {
    proxies.stop()
    stack.stop()
  })

  it('agents and callers come through HAProxy, and limits are those of their own networks', async () => {
    const [agents, callers] = [stack.agentPort, stack.callerPort]
    stack.agentPort = await proxies.haproxy('agents', agents)
    stack.callerPort = await proxies.haproxy('callers', callers)
    const flood = Array.from({ length: 8 }, () =>
      open(stack.agentPort, Buffer.from([22, 3, 1]), '127.0.0.2'),
    )
    expect(await refusalOf(stack.log, 'HANDSHAKE_LIMIT', '127.0.0.2:')).to.include('oldest')
    // Three stay, which would keep the balancer's own network full.
    const agent = await stack.startAgent()
    expect(agent.tunnel.lastError).to.equal(undefined)
    const client = await stack.connect()
    expect((await client.getCluster('c-1')).tunnels).to.have.length(1)
    expect(
      stack.log.lines.filter(({ facts }) => facts.code === 'PROXY_HEADER_INVALID'),
    ).to.deep.equal([])
    for (const socket of flood) socket.destroy()
  })

  for (const pieces of [1, 2, 5])
    it(`a header that comes in pieces, ${String(pieces)} of them, is taken off, and TLS begins behind it`, async () => {
      const port = stack.addresses.api?.port ?? 0
      const header = proxyHeader(SOURCE, Buffer.alloc(40))
      const size = Math.ceil(header.length / pieces)
      const raw = open(port, header.subarray(0, size))
      raw.pause()
      for (let at = size; at < header.length; at += size) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        raw.write(header.subarray(at, at + size))
      }
      const files = await stack.pki.issue(CALLER)
      const socket = connectTls({
        ...{ ...clientTls(files), socket: raw, servername: 'localhost', ALPNProtocols: ['h2'] },
      })
      await once(socket, 'secureConnect')
      expect(socket.alpnProtocol).to.equal('h2')
      socket.destroy()
    })

  it('a header is taken from nobody else, and makes nobody anybody', async () => {
    const stranger = open(stack.agentPort, proxyHeader(SOURCE), '127.0.0.2')
    await once(stranger, 'close')
    expect(await refusalOf(stack.log, 'TLS_VERSION', '127.0.0.2:')).to.be.a('string')
    expect(
      stack.log.lines.some(({ facts }) => String(facts.peer).includes(SOURCE.address)),
    ).to.equal(false)
  })

  it('a load balancer that looks at our health by its own word is let through, and goes', async () => {
    const socket = open(stack.agentPort, proxyHeader(undefined))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(socket.destroyed).to.equal(false)
    socket.end()
    await once(socket, 'close')
  })

  it('one that says nothing, or half a header, is closed in time', async () => {
    stack.stop()
    stack = await Stack.start({ ...TRUSTED, 'handshake.timeout': '300ms' })
    const [silent, half] = [Buffer.alloc(0), proxyHeader(SOURCE).subarray(0, 20)]
    for (const first of [silent, half]) {
      const socket = open(stack.agentPort, first)
      await once(socket, 'close')
    }
    expect(await refusalOf(stack.log, 'PROXY_HEADER_INVALID', '127.0.0.1:')).to.include('in time')
  })

  it('more of them than wait at once push out the oldest', async () => {
    const first = open(stack.agentPort, Buffer.alloc(0))
    await once(first, 'connect')
    const more = Array.from({ length: 60 }, () => open(stack.agentPort, Buffer.alloc(0)))
    await once(first, 'close')
    expect(await refusalOf(stack.log, 'PROXY_HEADER_INVALID', '127.0.0.1:')).to.include('too many')
    for (const socket of more) socket.destroy()
    const agent = await (async () => {
      stack.agentPort = await proxies.haproxy('agents', stack.agentPort)
      return await stack.startAgent()
    })()
    expect(agent.tunnel.lastError).to.equal(undefined)
  })

  it('is what a reload says: none, then some', async () => {
    const files = await stack.pki.issue(GATEWAY)
    stack.gateway.reload(stack.gatewaySettings(files))
    expect((await stack.startAgent()).tunnel.lastError).to.equal(undefined)
    stack.gateway.reload(stack.gatewaySettings(files, TRUSTED))
    const socket = open(stack.agentPort, Buffer.from([22, 3, 1, 0, 10]))
    await once(socket, 'close')
  })
})

describe('every listener behind a load balancer', function () {
  it('demands the header', async () => {
    const plane = await ControlPlane.start({
      ...{ ...TRUSTED, 'api.listen': '127.0.0.1:0', 'api.tokenListen': '127.0.0.1:0' },
    })
    const all = Object.values(plane.addresses) as { port: number }[]
    expect(all).to.have.length(6)
    for (const { port } of all) {
      const before = plane.log.lines.length
      const socket = open(port, Buffer.from([22, 3, 1, 0, 10, 1, 0, 0, 6, 3, 3, 0, 0, 0, 0]))
      await once(socket, 'close')
      const told = plane.log.lines.slice(before).map(({ facts }) => facts.code)
      expect(told, String(port)).to.deep.equal(['PROXY_HEADER_INVALID'])
    }
    plane.stop()
  })
})

describe('the health port of a gateway', function () {
  it('tells whether it is ready, and no metrics', async () => {
    const state = { isReady: true, isAlive: true, text: 'it runs' }
    const monitor = new MonitorListener(
      { host: '127.0.0.1', port: 0 },
      { state: () => state, setting: 'health.listen' },
    )
    const { port } = await monitor.listen()
    const statusOf = async (path: string): Promise<number> =>
      (await fetch(`http://127.0.0.1:${String(port)}${path}`)).status
    expect(await statusOf('/readyz')).to.equal(200)
    state.isReady = false
    expect(await statusOf('/readyz')).to.equal(503)
    expect(await statusOf('/livez')).to.equal(200)
    expect(await statusOf('/metrics')).to.equal(404)
    monitor.close()
  })
})
