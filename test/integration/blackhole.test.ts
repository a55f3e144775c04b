import { expect } from 'chai'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Agent } from '../../src/agent/agent.ts'
import { Diagnostics } from '../../src/client.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

const SILENCE_MS = 1000
/** Silence is looked for at each ping; what two busy cores take comes on top. */
const DEADLINE_MS = SILENCE_MS * 3
const SETTINGS = { 'tunnel.pingInterval': '300ms', 'tunnel.silence': `${String(SILENCE_MS)}ms` }

/** Passes bytes on until it swallows them, in one direction or both: no reset, no end, no word. */
class BlackholeProxy {
  readonly server: Server
  readonly #sockets = new Set<Socket>()
  swallowsFromAgent = false
  swallowsFromGateway = false

  constructor(port: number) {
    this.server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.on('error', () => undefined)
      }
      near.on('data', (chunk) => {
        if (!this.swallowsFromAgent) far.write(chunk)
      })
      far.on('data', (chunk) => {
        if (!this.swallowsFromGateway) near.write(chunk)
      })
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return `localhost:${String((this.server.address() as AddressInfo).port)}`
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.server.close()
  }
}

describe('a path that swallows everything', function () {
  let plane: ControlPlane
  let proxy: BlackholeProxy
  let agent: Agent

  beforeEach(async () => {
    plane = await ControlPlane.start(SETTINGS)
    await plane.enroll('a-1')
    proxy = new BlackholeProxy(plane.addresses.agents.port)
    agent = plane.startAgent('a-1', {
      'gateway.address': await proxy.listen(),
      'tunnel.dialTimeout': '1s',
      ...SETTINGS,
    })
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
  })
  afterEach(() => {
    proxy.close()
    plane.stop()
  })

  for (const [what, fromAgent, fromGateway] of [
    ['in both directions', true, true],
    ['from the agent', true, false],
    ['from the gateway', false, true],
  ] as const)
    it(`${what} is seen within the deadline: the gateway routes no more, and the agent dials anew`, async () => {
      const client = await plane.connect()
      proxy.swallowsFromAgent = fromAgent
      proxy.swallowsFromGateway = fromGateway
      const startedMs = Date.now()
      await Promise.all([
        eventually(() => agent.tunnel.state.name !== 'ready', 'the agent has left it'),
        eventually(() => plane.gateway.registry.tunnelCount === 0, 'the gateway routes no more'),
      ])
      expect(Date.now() - startedMs).to.be.lessThan(DEADLINE_MS)
      // A call is answered at once, and does not hang.
      const called = Date.now()
      const echo = client.cluster('c-1').service(Diagnostics).echo({}, { timeoutMs: 10_000 })
      const error = await echo.then(
        () => undefined,
        (thrown: unknown) => String(thrown),
      )
      expect(error).to.include('CLUSTER_UNKNOWN')
      expect(Date.now() - called).to.be.lessThan(DEADLINE_MS)
      proxy.swallowsFromAgent = false
      proxy.swallowsFromGateway = false
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up again')
    })
})
