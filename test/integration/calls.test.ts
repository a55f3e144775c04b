import { plainData } from '../../src/contract/data-type.ts'
import { rejection } from '../support/code-of.ts'
import { noteText } from '../support/seen.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { expect } from 'chai'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { PosternError } from '../../src/base/errors.ts'
import { Diagnostics, Health, RpcError } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { HealthCheckResponse_ServingStatus as Status } from '../../src/gen/grpc/health/v1/health_pb.js'
import type { CallContext } from '../../src/rpc/call-context.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { dialTls } from '../../src/transport/tls-dial.ts'
import { RpcConnection } from '../../src/tunnel/rpc-connection.ts'
import { encodeRoute, KIND, writeHead } from '../../src/wire/open-head.ts'
import type { MethodHandler } from '../../src/rpc/service.ts'
import { eventually } from '../support/eventually.ts'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { Stack } from '../support/stack.ts'

describe('calls through caller, gateway and agent', function () {
  let stack: Stack
  let client: GatewayClient
  before(async () => {
    stack = await Stack.start()
    const path = join(stack.pki.folder, 'policy.yaml')
    const rule = '{ name: all, callers: ["*"], methods: ["*"], services: ["*"] }'
    writeFileSync(path, `version: 1\nmetadata: [tenant, run]\nrules: [${rule}]`)
    await stack.startAgent({ allow: '[]', 'policy.file': path })
    client = await stack.connect()
  })
  after(() => {
    stack.stop()
  })

  const cluster = () => client.cluster('c-1')
  const diagnostics = () => cluster().service(Diagnostics)

  /** Offers a handler under a new name, and returns the name. */
  function offer(handler: MethodHandler): string {
    const name = `test.T/M${String(Math.floor(performance.now() * 1000))}`
    stack.agents[0]!.services.server.offer({ name, data: plainData('cluster-record'), handler })
    return name
  }

  async function failure(call: Promise<unknown>): Promise<RpcError> {
    const error = await call.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).to.be.instanceOf(RpcError)
    noteText((error as RpcError).code ?? '')
    return error as RpcError
  }

  it('brings short answers to requests of any length, made at once or later', async () => {
    const name = offer({
      kind: 'unary',
      handle: (request) => Promise.resolve(Buffer.from(String(request.length))),
    })
    for (const size of [0, 16_000, 16_400, 60_000]) {
      const answer = await cluster().channel.unary(name, Buffer.alloc(size), { timeoutMs: 10_000 })
      expect(answer.toString()).to.equal(String(size))
    }
  })

  it('answers unary calls from empty to larger than any window', async () => {
    for (const size of [0, 1, 100, 16_000, 16_400, 300_000, 3_900_000]) {
      const payload = Buffer.alloc(size, size & 0xff)
      const { payload: echoed } = await diagnostics().echo({ payload }, { timeoutMs: 10_000 })
      expect(Buffer.from(echoed).equals(payload), `${String(size)} bytes`).to.equal(true)
    }
  })

  it('answers thousands of calls at once', async () => {
    const calls = Array.from({ length: 3000 }, (_, i) =>
      diagnostics().echo({ payload: Buffer.from(String(i)) }),
    )
    const answers = await Promise.all(calls)
    answers.forEach(({ payload }, i) => {
      expect(Buffer.from(payload).toString()).to.equal(String(i))
    })
  })

  it('streams from the server, from the client, and both ways', async () => {
    let bytes = 0
    for await (const { payload } of diagnostics().download({ messages: 100, messageBytes: 50_000 }))
      bytes += payload.length
    expect(bytes).to.equal(5_000_000)
    async function* requests(count: number): AsyncGenerator<{ payload: Uint8Array }> {
      for (let i = 0; i < count; i++)
        yield await Promise.resolve({ payload: Buffer.alloc(70_000, i) })
    }
    const counted = await diagnostics().upload(requests(50))
    expect([counted.messages, counted.bytes]).to.deep.equal([50n, 3_500_000n])
    let index = 0
    for await (const { payload } of diagnostics().echoStream(requests(20)))
      expect(payload[0]).to.equal(index++)
    expect(index).to.equal(20)
  })

  it('serves the health of the agent and of its services, and watches it', async () => {
    const health = cluster().service(Health)
    expect((await health.check({ service: '' })).status).to.equal(Status.SERVING)
    expect((await failure(health.check({ service: 'nope' }))).status).to.equal('NOT_FOUND')
    const { health: board } = stack.agents[0]!.services
    board.set('db', true)
    const seen: Status[] = []
    for await (const { status } of health.watch({ service: 'db' })) {
      seen.push(status)
      if (seen.length === 2) break
      board.set('db', false)
    }
    expect(seen).to.deep.equal([Status.SERVING, Status.NOT_SERVING])
  })

  it('lets the agent call the gateway over the same tunnel', async () => {
    const state = stack.agents[0]!.tunnel.state
    expect(state.name === 'ready' && state.welcome.gateway).to.equal('gw-1')
    if (state.name !== 'ready') return
    const second = await failure(
      state.connection.channel().unary('postern.v1.Tunnel/Register', Buffer.alloc(0)),
    )
    expect(second.message).to.include('registered already')
    const other = await failure(
      state.connection.channel().unary('postern.v1.Gateway/ListClusters', Buffer.alloc(0)),
    )
    expect(other.code).to.equal('POLICY_DENIED')
  })

  it('enforces deadlines on both sides', async () => {
    let reason: unknown
    const name = offer({
      kind: 'unary',
      handle: (_request, context) =>
        new Promise((_resolve, reject) => {
          context.signal.addEventListener('abort', () => {
            reason = context.signal.reason
            reject(new Error('aborted'))
          })
        }),
    })
    const error = await failure(cluster().channel.unary(name, Buffer.alloc(0), { timeoutMs: 50 }))
    expect(error.status).to.equal('DEADLINE_EXCEEDED')
    await eventually(() => reason !== undefined, 'the handler is aborted')
    const past = failure(cluster().channel.unary(name, Buffer.alloc(0), { timeoutMs: -1 }))
    expect((await past).code).to.equal('MALFORMED_CALL')
  })

  it('cancels the handler of a call that its caller gave up, and never starts one that was given up before', async () => {
    let context: CallContext | undefined
    const name = offer({
      kind: 'unary',
      handle: (_request, given) => {
        context = given
        given.signal
        return new Promise(() => undefined)
      },
    })
    const abort = new AbortController()
    const call = failure(cluster().channel.unary(name, Buffer.alloc(0), { signal: abort.signal }))
    await eventually(() => context !== undefined, 'the handler runs')
    abort.abort()
    expect((await call).status).to.equal('CANCELLED')
    await eventually(() => context?.signal.aborted, 'the handler is aborted')
    const never = await failure(
      cluster().channel.unary(name, Buffer.alloc(0), { signal: abort.signal }),
    )
    expect(never.notStarted).to.equal(true)
  })

  it('says of a call on a session that has ended that it was not started, unlike one that was under way', async () => {
    const name = offer({ kind: 'unary', handle: () => new Promise(() => undefined) })
    const lost = await stack.connect()
    const { channel } = lost.cluster('c-1')
    const underWay = failure(channel.unary(name, Buffer.alloc(0)))
    await eventually(() => stack.agents[0]!.services.server.runningCount > 0, 'the handler runs')
    lost.close()
    expect((await underWay).notStarted).to.equal(false)
    for (const call of [
      channel.unary(name, Buffer.alloc(0)),
      channel.clientStream(name, new PassThrough()),
      channel.serverStream(name, Buffer.alloc(0))[Symbol.asyncIterator]().next(),
    ]) {
      const { code, notStarted } = await failure(call)
      expect([code, notStarted]).to.deep.equal(['CONNECTION_LOST', true])
    }
  })

  it('cancels a stream whose reader leaves', async () => {
    let aborted = false
    const name = offer({
      kind: 'serverStream',
      async *handle(_request, context) {
        context.signal.addEventListener('abort', () => {
          aborted = true
        })
        for (;;) yield await Promise.resolve(Buffer.alloc(1000))
      },
    })
    for await (const message of cluster().channel.serverStream(name, Buffer.alloc(0))) {
      expect(message.length).to.equal(1000)
      break
    }
    await eventually(() => aborted, 'the handler is aborted')
  })

  it('carries metadata, trace context and the caller, and limits what metadata may be', async () => {
    let seen: CallContext | undefined
    const name = offer({
      kind: 'unary',
      handle: (_request, context) => {
        seen = context
        return Buffer.alloc(0)
      },
    })
    const traceparent = `00-${'4'.repeat(32)}-${'7'.repeat(16)}-01`
    await cluster().channel.unary(name, Buffer.alloc(0), { metadata: { tenant: 'x' }, traceparent })
    expect({ ...seen?.metadata }).to.deep.equal({ tenant: 'x' })
    expect([seen?.traceparent, seen?.caller, seen?.cluster]).to.deep.equal([
      traceparent,
      { kind: 'service', name: 'tester', known: 'gateway' },
      'c-1',
    ])
    const large = await failure(
      cluster().channel.unary(name, Buffer.alloc(0), { metadata: { k: 'v'.repeat(17_000) } }),
    )
    expect(large.code).to.equal('HEAD_TOO_LARGE')
    const bad = await failure(
      cluster().channel.unary(name, Buffer.alloc(0), { traceparent: 'nonsense' }),
    )
    expect(bad.code).to.equal('MALFORMED_CALL')
  })

  it('answers a handler that throws with INTERNAL and an id, and no word of it in the log', async () => {
    const name = offer({
      kind: 'unary',
      handle: () => {
        throw new Error('the password is hunter2')
      },
    })
    const error = await failure(cluster().channel.unary(name, Buffer.alloc(0)))
    expect(error.status).to.equal('INTERNAL')
    expect(error.message).not.to.include('hunter2')
    const id = /id ([0-9a-f]{16})/.exec(error.message)?.[1]
    const line = stack.log.lines.find(({ facts }) => facts.errorId === id)
    expect(line?.facts.reason).to.equal('Error')
    expect(line?.facts.cause).to.include('calls.test.ts')
    expect(JSON.stringify(stack.log.lines)).not.to.include('hunter2')
  })

  it('answers with the status, text and metadata that a handler chose', async () => {
    const name = offer({
      kind: 'unary',
      handle: () => {
        throw new RpcError('NOT_FOUND', 'no such run', { metadata: { run: '7' } })
      },
    })
    const error = await failure(cluster().channel.unary(name, Buffer.alloc(0)))
    expect([error.status, error.rawMessage, error.metadata.run]).to.deep.equal([
      'NOT_FOUND',
      'no such run',
      '7',
    ])
  })

  it('refuses messages over the limit, at both ends, in both directions', async () => {
    const tooLarge = Buffer.alloc(5_000_000)
    expect((await failure(diagnostics().echo({ payload: tooLarge }))).code).to.equal(
      'MESSAGE_TOO_LARGE',
    )
    const name = offer({ kind: 'unary', handle: () => tooLarge })
    expect((await failure(cluster().channel.unary(name, Buffer.alloc(0)))).status).to.equal(
      'RESOURCE_EXHAUSTED',
    )
    const stream = offer({
      kind: 'serverStream',
      async *handle() {
        yield await Promise.resolve(tooLarge)
      },
    })
    const read = async (): Promise<void> => {
      for await (const message of cluster().channel.serverStream(stream, Buffer.alloc(0)))
        expect(message).to.equal(undefined)
    }
    expect((await failure(read())).status).to.equal('RESOURCE_EXHAUSTED')
  })

  it('says which method, which kind or which cluster is wrong', async () => {
    expect(
      (await failure(cluster().channel.unary('no.Such/Method', Buffer.alloc(0)))).code,
    ).to.equal('METHOD_UNKNOWN')
    const wrongKind = await failure(
      cluster().channel.unary('postern.v1.Diagnostics/Download', Buffer.alloc(0)),
    )
    expect(wrongKind.message).to.include('is serverStream')
    const elsewhere = await failure(client.cluster('other').channel.unary('x.Y/Z', Buffer.alloc(0)))
    expect([elsewhere.code, elsewhere.notStarted]).to.deep.equal(['CLUSTER_UNKNOWN', true])
  })

  it('lists the cluster with its tunnel', async () => {
    const [found, ...others] = await client.listClusters()
    expect(others).to.deep.equal([])
    expect(found?.name).to.equal('c-1')
    expect(found?.tunnels[0]?.agent).to.equal('a-1')
    const { tunnels } = await client.getCluster('c-1')
    expect(tunnels[0]?.methods.map(({ name }) => name)).to.include('grpc.health.v1.Health/Check')
    const missing = await failure(client.getCluster('other'))
    expect(missing.status).to.equal('NOT_FOUND')
  })
})

describe('the policy of the agent', function () {
  let stack: Stack
  before(async () => {
    stack = await Stack.start()
    const allow = [{ caller: 'tester', methods: ['grpc.health.v1.Health/*'], services: ['web'] }]
    const services = [
      { name: 'web', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' },
      { name: 'db', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' },
    ]
    await stack.startAgent({ allow: JSON.stringify(allow), services: JSON.stringify(services) })
  })
  after(() => {
    stack.stop()
  })

  it('allows what it lists and refuses everything else with its own code', async () => {
    const client = await stack.connect()
    const cluster = client.cluster('c-1')
    await cluster.service(Health).check({})
    const denied = await cluster
      .service(Diagnostics)
      .echo({})
      .catch((error: unknown) => error as RpcError)
    expect(denied).to.include({
      status: 'PERMISSION_DENIED',
      code: 'POLICY_DENIED',
      notStarted: true,
    })
    const mistyped = await cluster
      .service(Health)
      .check({}, { dataType: 'secret' })
      .catch((error: unknown) => error as RpcError)
    expect(mistyped).to.include({ code: 'POLICY_DENIED' })
    const stranger = await stack.connect(await stack.pki.issue({ ...CALLER, caller: 'stranger' }))
    const refused = await stranger
      .cluster('c-1')
      .service(Health)
      .check({})
      .catch((error: unknown) => error as RpcError)
    expect(refused).to.include({ code: 'POLICY_DENIED' })
  })

  it('stands before forwards as it stands before calls', async () => {
    const client = await stack.connect()
    const cluster = client.cluster('c-1')
    await rejection(cluster.forward('db', new PassThrough()), 'POLICY_DENIED')
    await rejection(cluster.forward('web', new PassThrough()), 'TARGET_UNREACHABLE')
  })

  it('does not take the word of a caller for who it is', async () => {
    const files = await stack.pki.issue({ ...CALLER, caller: 'stranger' })
    const credential = readCredential(files, 'caller', Date.now())
    const expected = { trustDomain: TRUST_DOMAIN, roles: ['gateway' as const] }
    const address = { host: '127.0.0.1', port: stack.callerPort, serverName: 'localhost' }
    const signal = AbortSignal.timeout(5000)
    const wire = await dialTls({ ...address, credential, expected, signal, nowMs: Date.now() })
    const sink = new RecordingSink()
    const connection = new RpcConnection(wire, 'dialer', stack.gateway.parts, {
      onReady: ({ session }) => {
        session.beginOpen(sink, true, false)
        // The head says that the allowed caller calls; the certificate says who does.
        const route = encodeRoute('c-1', 'tester', 'grpc.health.v1.Health/Check')
        const fields = { kind: KIND.unary, dataType: 0, timeoutMs: 0, traceparent: '' }
        writeHead(session.writer, { ...fields, route, metadata: Buffer.alloc(0) })
        session.endOpen()
      },
      streams: refuseStreams(''),
      onClosed: () => undefined,
    })
    await eventually(() => sink.events.length > 0, 'an answer')
    const name = 'grpc.health.v1.Health/Check'
    const [told = ''] = sink.events
    expect(told.replace(/\([0-9a-f]{8} .*\)/, '(ID)')).to.equal(
      `refuse POLICY_DENIED stranger may not use ${name} (ID)`,
    )
    connection.close(new PosternError('SHUTDOWN', 'done'))
  })
})
