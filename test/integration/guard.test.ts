import { create, toBinary } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { writeLockdown } from '../../src/agent/guard/guard.ts'
import { Diagnostics, Health, RpcError } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { DataType } from '../../src/gen/postern/v1/data_pb.js'
import { offersOf } from '../../src/rpc/typed.ts'
import { codeOf } from '../support/code-of.ts'
import { dataService, type TestMethod } from '../support/data-service.ts'
import { eventually } from '../support/eventually.ts'
import { noteText } from '../support/seen.ts'
import { Stack } from '../support/stack.ts'

const METHODS: readonly TestMethod[] = [
  { name: 'Describe', data: { carries: DataType.RUN_METADATA } },
  { name: 'Define', data: { carries: DataType.TASK_DEFINITION } },
  { name: 'Relay', data: { carries: DataType.METRIC } },
  {
    name: 'Sign',
    data: {
      carries: DataType.PRESIGNED_URL,
      about: [DataType.TASK_IO, DataType.REPORT],
      aboutField: 'type',
    },
  },
]

interface Item {
  text?: string
  raw?: Uint8Array
  type?: number
  parts?: Item[]
  notes?: Record<string, string>
}
type Method = (item: Item, options?: object) => Promise<Item>

describe('the guard of an agent', function () {
  let stack: Stack
  let client: GatewayClient
  let path: string
  const service = dataService(METHODS)
  beforeEach(async () => {
    stack = await Stack.start()
    path = join(stack.pki.folder, 'policy.yaml')
  })
  afterEach(() => {
    stack.stop()
  })

  /** An agent with a policy, and a service that answers by `answer`. */
  async function start(policy: string, answer: (item: Item) => Item = (item) => item) {
    writeFileSync(path, `version: 1\n${policy}`)
    const agent = await stack.startAgent({ allow: '[]', 'policy.file': path })
    const entries = service.methods.map(({ localName }) => [localName, answer] as const)
    for (const offer of offersOf(service, Object.fromEntries(entries) as never))
      agent.services.server.offer(offer)
    client = await stack.connect()
    return agent
  }

  const methods = () =>
    client.cluster('c-1').service(service as never) as unknown as Record<string, Method>
  const call = (name: string, item: Item): Promise<Item> => methods()[name]!(item)
  async function failure(promise: Promise<unknown>): Promise<RpcError> {
    const error = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).to.be.instanceOf(RpcError)
    noteText((error as RpcError).rawMessage)
    return error as RpcError
  }
  const ALL =
    'rules: [{ name: all, callers: ["*"], methods: ["*"] }]\nsealed: { presigned-url: optional }'

  it('bounds messages of metadata, each text in them too, and passes on what is relayed', async () => {
    await start(ALL)
    const long = 'x'.repeat(4097)
    await call('describe', { text: 'x'.repeat(4096) })
    for (const item of [
      { text: long },
      { raw: Buffer.from(long) },
      { parts: [{ parts: [{ text: long }] }] },
      { notes: { key: long } },
      { notes: { [long]: 'x' } },
    ])
      expect((await failure(call('describe', item))).rawMessage).to.include('MESSAGE_TOO_LARGE')
    await call('define', { text: long })
    const most = { text: 'x'.repeat(64 * 1024 + 1) }
    expect((await failure(call('define', most))).rawMessage).to.include('65536 bytes')
    await call('relay', { text: 'x'.repeat(200_000) })
  })

  it('bounds answers as it does requests', async () => {
    await start(ALL, ({ text = '' }) => ({ text: text.repeat(5000) }))
    expect((await failure(call('describe', { text: 'x' }))).rawMessage).to.include('4096 bytes')
    const wide = await failure(call('define', { text: 'x'.repeat(14) }))
    expect(wide.rawMessage).to.include('MESSAGE_TOO_LARGE')
  })

  it('takes off fields that no description has, or refuses them, as the policy says', async () => {
    const seen: number[] = []
    const answer = (item: Item): Item => {
      seen.push(((item as { $unknown?: unknown[] }).$unknown ?? []).length)
      return item
    }
    const agent = await start(ALL, answer)
    const item = service.method.describe!.input
    const known = toBinary(item, create(item, { text: 'known' }))
    // Field 15, a text: "hidden".
    const bytes = Buffer.concat([known, Buffer.from([0x7a, 6]), Buffer.from('hidden')])
    const raw = (name: string): Promise<Uint8Array> =>
      client.cluster('c-1').channel.unary(`test.v1.Data/${name}`, bytes)
    expect(Buffer.from(await raw('Describe')).includes('hidden')).to.equal(false)
    expect(Buffer.from(await raw('Relay')).includes('hidden')).to.equal(true)
    expect(seen).to.deep.equal([0, 1])
    writeFileSync(path, `version: 1\nunknownFields: refuse\n${ALL}`)
    await agent.reload()
    expect((await failure(raw('Describe'))).rawMessage).to.include('the policy refuses such')
  })

  it('lets the metadata cross that the policy names', async () => {
    const agent = await start(`metadata: [x-request-id]\n${ALL}`)
    const seen: object[] = []
    agent.services.server.offer({
      name: 'test.T/Told',
      data: { carries: 'metric', request: 'metric', response: 'metric', about: [] },
      handler: {
        kind: 'unary',
        handle: (_request, { metadata }) => {
          seen.push(metadata)
          throw new RpcError('NOT_FOUND', 'no', { metadata: { 'x-request-id': '1', other: '2' } })
        },
      },
    })
    const metadata = { 'x-request-id': 'a', 'x-smuggled': 'b' }
    const error = await failure(
      client.cluster('c-1').channel.unary('test.T/Told', Buffer.alloc(0), { metadata }),
    )
    expect(seen).to.deep.equal([{ 'x-request-id': 'a' }])
    expect(error.metadata).to.deep.equal({ 'x-request-id': '1' })
  })

  it('tells neither caller nor log what a handler or what is behind it says of an error', async () => {
    const secret = 'the password is hunter2'
    await start(ALL, ({ text }) => {
      if (text === 'remote')
        throw new RpcError('NOT_FOUND', secret, { isRemote: true, metadata: { why: secret } })
      throw new TypeError(secret)
    })
    const remote = await failure(call('relay', { text: 'remote' }))
    expect([remote.status, remote.rawMessage]).to.deep.equal([
      'NOT_FOUND',
      'the service behind this agent answered NOT_FOUND',
    ])
    const own = await failure(call('relay', {}))
    const id = /id ([0-9a-f]+)/.exec(own.rawMessage)?.[1]
    const logged = stack.log.find('a handler failed')
    expect(logged?.facts).to.deep.include({ errorId: id, reason: 'TypeError' })
    expect(JSON.stringify([stack.log.lines, remote, own])).to.not.include('hunter2')
  })

  it('decides on what the request says that a call is about', async () => {
    await start(
      'rules: [{ name: urls, callers: ["*"], methods: ["*"], about: [report] }]\nsealed: { presigned-url: optional }',
    )
    await call('sign', { type: DataType.REPORT })
    for (const type of [DataType.TASK_IO, DataType.SECRET])
      expect((await failure(call('sign', { type }))).rawMessage).to.include('POLICY_DENIED')
    for (const type of [0, 99])
      expect((await failure(call('sign', { type }))).rawMessage).to.include('MALFORMED_CALL')
  })

  it('serves no method that declares no type, or one that never crosses', () => {
    const offers = (method: TestMethod) => () => {
      const guard = stack.agents[0]?.guard.guard
      for (const { name, data } of offersOf(dataService([method]), {}))
        guard?.judgeOffer(name, data)
    }
    const { message } = codeOf(offers({ name: 'Bare', data: undefined }), 'CONFIG_INVALID')
    expect(message).to.include('test/v1/data.proto: test.v1.Data/Bare declares no data type')
    codeOf(offers({ name: 'Odd', data: { carries: 99 as never } }), 'CONFIG_INVALID')
    const lost = { carries: DataType.METRIC, aboutField: 'nothing' }
    codeOf(offers({ name: 'Lost', data: lost }), 'CONFIG_INVALID')
  })

  it('takes over a policy as it changes on disk, and keeps the last good one', async () => {
    const agent = await start(ALL)
    await call('relay', {})
    writeFileSync(path, 'version: 1\nrules: [{ name: none }]')
    await eventually(
      () => agent.guard.reasons(0).some(({ text }) => text.includes('policy.yaml:2:9')),
      'the mistake is told',
    )
    await call('relay', {})
    writeFileSync(path, 'version: 1\nrules: []')
    await eventually(
      () =>
        call('relay', {}).then(
          () => false,
          (error: unknown) => (error as RpcError).code === 'POLICY_DENIED',
        ),
      'the new policy is in force',
    )
    expect(agent.guard.reasons(0)).to.deep.equal([])
  })

  it('locks down: what runs ends, nothing begins, the gateway sees it, and a restart changes nothing', async () => {
    const agent = await start(ALL)
    const folder = join(stack.pki.folder, 'state')
    const received: unknown[] = []
    const running = (async () => {
      const request = { messages: 1e6, messageBytes: 1, intervalMs: 20 }
      for await (const { payload } of client.cluster('c-1').service(Diagnostics).download(request))
        received.push(payload)
    })()
    await eventually(() => received.length > 0, 'it runs')
    writeLockdown(folder, { at: '', reason: 'incident 4711', tell: true })
    agent.guard.lookForLockdown()
    expect((await failure(running)).rawMessage).to.include('LOCKED_DOWN')
    expect((await failure(call('relay', {}))).code).to.equal('LOCKED_DOWN')
    await client.cluster('c-1').service(Health).check({})
    await eventually(async () => {
      const { tunnels } = await client.getCluster('c-1')
      return tunnels[0]?.isLockedDown === true && tunnels[0].lockdownReason === 'incident 4711'
    }, 'the gateway sees it')
    agent.stop()
    const again = await stack.startAgent({ allow: '[]', 'policy.file': path })
    expect(again.guard.report().lockdown).to.equal('incident 4711')
    await eventually(
      async () => (await failure(call('relay', {}))).code === 'LOCKED_DOWN',
      'it is locked again',
    )
  })

  it('ends forwards by a lockdown, too', async () => {
    const target: Server = createServer((socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
    const address = `tcp://127.0.0.1:${String((target.address() as AddressInfo).port)}`
    const services = [{ name: 'db', target: address, dataType: 'service-traffic' }]
    writeFileSync(path, 'version: 1\nrules: [{ name: db, callers: ["*"], services: [db] }]')
    const flags = { allow: '[]', 'policy.file': path, services: JSON.stringify(services) }
    const agent = await stack.startAgent(flags)
    client = await stack.connect()
    const socket = new PassThrough()
    const ended = client.cluster('c-1').forward('db', socket)
    await eventually(() => agent.services.server.runningCount === 1, 'it runs')
    agent.guard.guard.lockDown('now')
    await ended.catch(() => undefined)
    await eventually(() => agent.services.server.runningCount === 0, 'it has ended')
    target.close()
  })

  it('lets no gateway in whose region is not allowed, before a byte of it is said', async () => {
    writeFileSync(path, 'version: 1\nresidency: { gateways: [eu] }')
    const agent = await stack.dialAgent({ allow: '[]', 'policy.file': path })
    const cause = (): string => {
      const { state } = agent.tunnel
      return state.name === 'backoff' ? state.cause.code : ''
    }
    await eventually(() => cause() === 'REGION_REFUSED', 'refused')
    noteText(cause())
    expect(stack.log.find('tunnel registered')).to.equal(undefined)
    writeFileSync(path, 'version: 1\nresidency: { gateways: [r-1] }')
    await eventually(() => agent.tunnel.state.name === 'ready', 'the region is allowed')
    writeFileSync(path, 'version: 1\nresidency: { gateways: [eu] }')
    await eventually(() => agent.tunnel.state.name !== 'ready', 'it is no more')
  })
})

describe('a policy that a gateway pushes', function () {
  it('narrows for its tunnel, and changes nothing where it widens', async () => {
    const stack = await Stack.start()
    try {
      const folder = join(stack.pki.folder, 'narrow')
      mkdirSync(folder)
      stack.gateway.stop()
      const narrow = join(folder, 'c-1.yaml')
      writeFileSync(
        narrow,
        'version: 1\nrules: [{ name: wide, callers: ["*"], methods: [grpc.health.v1.Health/*, x.Y/Z] }]',
      )
      await stack.startGateway({ 'narrow.directory': folder })
      const allow = JSON.stringify([
        { caller: '*', methods: ['grpc.health.v1.Health/*', 'postern.v1.Diagnostics/Echo'] },
      ])
      const agent = await stack.startAgent({ allow })
      const client = await stack.connect()
      await eventually(() => agent.guard.report().pushes.length === 1, 'it was pushed')
      const [push] = agent.guard.report().pushes
      expect(push?.widening.map(({ name }) => name)).to.deep.equal(['wide'])
      await client.cluster('c-1').service(Health).check({})
      const echo = client.cluster('c-1').service(Diagnostics).echo({})
      expect(await echo.catch((error: unknown) => error)).to.include({ code: 'POLICY_DENIED' })
      await eventually(
        () => stack.log.find('rules of the pushed policy change nothing'),
        'the gateway is told',
      )
      // A tunnel of its own is another tunnel.
      writeFileSync(narrow, 'version: 1\nsealed: {}')
      await agent.tunnels.replace()
      await eventually(
        () => stack.log.find('an agent did not take the narrower policy'),
        'it is refused',
      )
      await eventually(() => agent.guard.report().pushes.length === 0, 'the first one has ended')
      await client.cluster('c-1').service(Diagnostics).echo({})
    } finally {
      stack.stop()
    }
  })
})
