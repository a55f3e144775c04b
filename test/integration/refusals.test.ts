import { noteText } from '../support/seen.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { createServer as createPlainServer, type AddressInfo, type Server } from 'node:net'
import { createServer } from 'node:tls'
import { PosternError } from '../../src/base/errors.ts'
import { Tunnel as TunnelService } from '../../src/gen/postern/v1/tunnel_pb.js'
import { readCredential } from '../../src/identity/key-files.ts'
import { clientOf } from '../../src/rpc/typed.ts'
import { farewell } from '../../src/transport/farewell.ts'
import { dialTls } from '../../src/transport/tls-dial.ts'
import { RpcConnection } from '../../src/tunnel/rpc-connection.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, GATEWAY, TRUST_DOMAIN } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

describe('refusals after the handshake', function () {
  let stack: Stack
  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
  })

  async function listening(server: Server): Promise<string> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `127.0.0.1:${String((server.address() as AddressInfo).port)}`
  }

  /** A client on an agent's own session, before it registered. */
  async function newcomer(): Promise<RpcConnection> {
    const credential = readCredential(await stack.pki.issue(AGENT), 'agent', Date.now())
    const wire = await dialTls({
      host: '127.0.0.1',
      port: stack.agentPort,
      serverName: 'localhost',
      credential,
      expected: { trustDomain: TRUST_DOMAIN, roles: ['gateway'] },
      signal: AbortSignal.timeout(5000),
      nowMs: Date.now(),
    })
    return await new Promise((resolve) => {
      new RpcConnection(wire, 'dialer', stack.gateway.parts, {
        onReady: resolve,
        streams: refuseStreams(''),
        onClosed: () => undefined,
      })
    })
  }

  it('an agent that was revoked says so, retries at the slowest pace, and does not exit', async () => {
    const files = await stack.pki.issue(GATEWAY)
    const pem = { cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) }
    const server = createServer({ ...pem, ALPNProtocols: ['postern/1'] }, (socket) => {
      socket.on('error', () => undefined)
      socket.end(farewell(new PosternError('IDENTITY_REVOKED', 'revoked on 2026-01-02')))
    })
    const address = await listening(server)
    const agent = await stack.dialAgent({ 'gateway.address': address })
    const error = await eventually(() => agent.tunnel.lastError, 'an error')
    expect([error.code, error.recovery]).to.deep.equal(['IDENTITY_REVOKED', 'give-up'])
    expect(error.message).to.include('revoked on 2026-01-02')
    const line = stack.log.lines.find(({ message }) => message.includes('somebody must act'))
    expect(line?.level).to.equal('error')
    expect(line?.facts.delayMs).to.be.within(100, 200)
    server.close()
  })

  it('an agent that dials where callers do is told where its own listener is', async () => {
    const port = String(stack.callerPort)
    const agent = await stack.dialAgent({ 'gateway.address': `127.0.0.1:${port}` })
    const last = await eventually(() => agent.tunnel.lastError, 'a refusal')
    expect(last.code).to.equal('IDENTITY_ROLE')
    expect(last.rawMessage).to.include('agents dial agents.listen, which is ')
  })

  it('an agent that registers under names that are not those of its certificate is refused', async () => {
    const names = [
      { cluster: 'other', agent: AGENT.agent },
      { cluster: AGENT.cluster, agent: 'other' },
    ]
    for (const name of names) {
      const connection = await newcomer()
      const client = clientOf(TunnelService, connection.channel())
      const error = await client
        .register({ ...name, agentVersion: '0' })
        .catch((reason: unknown) => String(reason))
      noteText(error as string)
      expect(error).to.include('WRONG_CLUSTER: the names in Register')
      expect(stack.gateway.registry.tunnelCount).to.equal(0)
      connection.close(new PosternError('SHUTDOWN', 'done'))
    }
  })

  it('an agent can call nothing on the gateway but Register, and that once', async () => {
    const connection = await newcomer()
    const channel = connection.channel()
    const denied = await channel
      .unary('postern.v1.Gateway/ListClusters', Buffer.alloc(0))
      .catch((reason: unknown) => String(reason))
    expect(denied).to.include('POLICY_DENIED')
    const client = clientOf(TunnelService, channel)
    const { cluster, agent } = AGENT
    await client.register({ cluster, agent, agentVersion: '0' })
    const again = await client
      .register({ cluster, agent, agentVersion: '0' })
      .catch((reason: unknown) => String(reason))
    expect(again).to.include('registered already')
    connection.close(new PosternError('SHUTDOWN', 'done'))
  })

  it('an agent that registers more than the gateway keeps is refused', async () => {
    const { cluster, agent } = AGENT
    const method = { name: 'x', kind: 'unary', dataType: 'metric' }
    const tooMany = Array.from({ length: 1025 }, () => method)
    const tooLarge = Array.from({ length: 1000 }, () => ({ ...method, name: 'x'.repeat(100) }))
    const escapes = [{ ...method, name: '\u001b]0;owned\u0007' }]
    for (const [methods, said] of [
      [tooMany, 'more than 1024'],
      [tooLarge, 'a message exceeds 65536 bytes'],
      [escapes, 'printable ASCII'],
    ] as const) {
      const connection = await newcomer()
      const client = clientOf(TunnelService, connection.channel())
      const error = await client
        .register({ cluster, agent, agentVersion: '0', methods: [...methods] })
        .catch((reason: unknown) => String(reason))
      expect(error).to.include(said)
      connection.close(new PosternError('SHUTDOWN', 'done'))
    }
  })

  it('an agent that holds too many connections gets no more, and is told', async () => {
    stack.stop()
    stack = await Stack.start({ 'limits.tunnelsPerAgentMax': '2' })
    const connections = [await newcomer(), await newcomer()]
    const agent = await stack.dialAgent()
    const error = await eventually(() => agent.tunnel.lastError, 'an error')
    expect(error.code).to.equal('HANDSHAKE_LIMIT')
    expect(error.message).to.include('holds 2 connections already')
    for (const one of connections) one.close(new PosternError('SHUTDOWN', 'done'))
    await eventually(() => agent.tunnel.state.name === 'ready', 'there is room again')
  })

  it('a TLS alert that has no code of its own is TLS_FAILED, with the alert', async () => {
    const server = createPlainServer((socket) => {
      socket.on('error', () => undefined)
      // Fatal alert internal_error (RFC 8446, section 6).
      socket.end(Buffer.from('15030300020250', 'hex'))
    })
    const agent = await stack.dialAgent({ 'gateway.address': await listening(server) })
    const error = await eventually(() => agent.tunnel.lastError, 'an error')
    expect(error.code).to.equal('TLS_FAILED')
    expect(error.message).to.include('INTERNAL_ERROR')
    server.close()
  })
})
