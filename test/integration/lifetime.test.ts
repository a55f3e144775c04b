import { expect } from 'chai'
import { PassThrough } from 'node:stream'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect } from 'node:net'
import { codeOfForward } from '../support/code-of-forward.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

describe('what must end', function () {
  let stack: Stack
  let target: Server
  const sockets = new Set<Socket>()
  let services: string
  before(async () => {
    target = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => sockets.delete(socket))
      socket.resume()
    })
    await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
    const { port } = target.address() as AddressInfo
    const row = {
      name: 'sink',
      target: `tcp://127.0.0.1:${String(port)}`,
      dataType: 'service-traffic',
    }
    services = JSON.stringify([row])
  })
  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
  })
  after(() => {
    target.close()
  })

  it('a session ends with the certificate that it was made under', async () => {
    const files = await stack.pki.issue(AGENT, { notAfter: new Date(Date.now() + 2500) })
    const agent = await stack.dialAgent({}, files)
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    const down = await eventually(() => stack.log.find('the tunnel is down, retrying'), 'the cut')
    expect(down.facts.code).to.equal('CERT_EXPIRED')
    const line = await eventually(() => stack.log.find('tunnel closed'), 'a line in the log')
    expect(line.facts.code).to.equal('CERT_EXPIRED')
  })

  it('a forward ends with its deadline and with its signal, at both ends', async () => {
    await stack.startAgent({ services })
    const cluster = (await stack.connect()).cluster('c-1')
    const timed = codeOfForward(cluster.forward('sink', new PassThrough(), { timeoutMs: 200 }))
    const abort = new AbortController()
    const cancelled = codeOfForward(
      cluster.forward('sink', new PassThrough(), { signal: abort.signal }),
    )
    await eventually(() => sockets.size === 2, 'both are connected')
    abort.abort()
    expect(await cancelled).to.equal('CANCELLED')
    expect(await timed).to.equal('DEADLINE_EXCEEDED')
    await eventually(() => sockets.size === 0, 'the target is rid of both')
  })

  it('a dial to a target ends with the stream that asked for it', async () => {
    const agent = await stack.startAgent({ services })
    const cluster = (await stack.connect()).cluster('c-1')
    const codes = Array.from({ length: 300 }, async () => {
      const abort = new AbortController()
      const code = codeOfForward(
        cluster.forward('sink', new PassThrough(), { signal: abort.signal }),
      )
      abort.abort()
      return await code
    })
    expect(new Set(await Promise.all(codes))).to.deep.equal(new Set(['CANCELLED']))
    await eventually(
      () => agent.services.server.runningCount === 0 && sockets.size === 0,
      'all are gone',
    )
  })

  it('a tunnel told to go comes back by its own back-off, however long it is told to wait', async () => {
    const agent = await stack.startAgent()
    for (const reconnectAfterMs of [0, 0xffff_ffff]) {
      const [tunnel] = [...stack.gateway.registry.clusters.values()][0]!
      stack.log.lines.length = 0
      tunnel!.connection.session.goAway('GOING_AWAY', 'elsewhere', { reconnectAfterMs })
      const line = await eventually(() => stack.log.find('the tunnel is down, retrying'), 'a line')
      if (reconnectAfterMs > 0) expect(line.facts.delayMs).to.be.within(200, 220)
      else expect(line.facts.delayMs).to.be.within(0, 200)
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up again')
    }
  })

  it('a flood of connections that say nothing fills no log, and no line comes twice', async () => {
    const flood = Array.from({ length: 40 }, async () => {
      const socket = connect(stack.agentPort, '127.0.0.1')
      await new Promise((resolve) => socket.once('connect', resolve))
      socket.destroy()
      await new Promise((resolve) => socket.once('close', resolve))
    })
    await Promise.all(flood)
    await stack.startAgent()
    const refusals = stack.log.lines.filter(({ message }) => message === 'refused a connection')
    const peers = refusals.map(({ facts }) => facts.peer)
    expect(new Set(peers).size).to.equal(peers.length)
    expect(peers.length).to.be.at.most(40)
  })
})
