import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { Client as GrpcClient, credentials } from '@grpc/grpc-js'
import { mkdirSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { systemRandom } from '../../src/base/random.ts'
import { readExecutor } from '../../src/config/executor-row.ts'
import { Spill } from '../../src/dataplane/events/spill.ts'
import { Phase, Runs, type Client } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import {
  PostRequestSchema,
  PostResponseSchema,
  RunEventSchema,
  type PostRequest,
} from '../../src/gen/postern/dataplane/v1/events_pb.js'
import { DispatchRequestSchema } from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { EntrySchema, type KeptEvent } from '../../src/gen/postern/v1/runs_pb.js'
import { eventually } from '../support/eventually.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'

const PATH = '/postern.dataplane.v1.Events/Post'
const action = { organisation: 'o', project: 'p', domain: 'd', run: 'r-1', action: 'train' }

describe('events of runs', () => {
  let stack: Stack
  let client: GatewayClient
  let runs: Client<typeof Runs>
  let socketPath: string
  beforeEach(async () => {
    stack = await Stack.start()
    stack.gateway.stop()
    await startGateway()
    mkdirSync(join(stack.pki.folder, 'run'), { mode: 0o700 })
    socketPath = join(stack.pki.folder, 'run', 'events.sock')
  })
  afterEach(() => {
    stack.stop()
  })
  const startGateway = async (): Promise<void> => {
    await stack.startGateway({ 'records.file': join(stack.pki.folder, 'records.db') })
    client = await stack.connect()
    runs = client.self().service(Runs)
  }
  const startAgent = async (flags: Record<string, string> = {}) => {
    const agent = await stack.startAgent({ 'events.socket': socketPath, ...flags })
    await eventually(() => isListening(), 'the socket listens')
    return agent
  }
  const isListening = async (): Promise<boolean> =>
    await new Promise((resolve) => {
      const socket = connect(socketPath, () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => {
        resolve(false)
      })
    })
  const post = async (body: string | object, headers: object = {}): Promise<[number, string]> =>
    await new Promise((resolve, reject) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const asked = request(
        {
          ...{ socketPath, path: PATH, method: 'POST' },
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
            ...headers,
          },
        },
        (response) => {
          const parts: Buffer[] = []
          response.on('data', (part: Buffer) => parts.push(part))
          response.on('end', () => {
            resolve([response.statusCode ?? 0, Buffer.concat(parts).toString()])
          })
        },
      )
      asked.on('error', reject)
      asked.end(text)
    })
  const event = (message: string, more: object = {}) => ({
    ...{ action, attempt: 1, phase: 'PHASE_RUNNING', message, ...more },
  })
  const kept = async (): Promise<KeptEvent[]> =>
    (await runs.list({ cluster: 'c-1', limit: 500 })).events
  const messages = async (): Promise<(string | undefined)[]> =>
    (await kept()).map((one) => one.event?.message)

  it('come by JSON and by gRPC, and are kept and told in their order', async () => {
    await startAgent()
    expect(statSync(socketPath).mode & 0o777).to.equal(0o660)
    expect(await post({ events: [event('1'), event('2')] })).to.deep.equal([
      200,
      '{"accepted":2}\n',
    ])
    const grpc = new GrpcClient(`unix:${socketPath}`, credentials.createInsecure())
    const accepted = await new Promise((resolve, reject) => {
      grpc.makeUnaryRequest(
        PATH,
        (message: PostRequest) => Buffer.from(toBinary(PostRequestSchema, message)),
        (bytes: Buffer) => fromBinary(PostResponseSchema, bytes).accepted,
        create(PostRequestSchema, {
          events: [
            create(RunEventSchema, { action, attempt: 1, phase: Phase.SUCCEEDED, message: '3' }),
          ],
        }),
        (error, value) => {
          if (error === null) resolve(value)
          else reject(error)
        },
      )
    })
    grpc.close()
    expect(accepted).to.equal(1)
    await eventually(async () => (await kept()).length === 3, 'they are kept')
    expect(await messages()).to.deep.equal(['1', '2', '3'])
    const [first] = await kept()
    expect(first?.agent).to.equal('a-1')
    expect(first?.event?.at).not.to.equal(undefined)
    const page = await runs.list({ cluster: 'c-1', limit: 2 })
    const rest = await runs.list({ cluster: 'c-1', cursor: page.cursor })
    expect(rest.events.map((one) => one.event?.message)).to.deep.equal(['3'])
    expect((await runs.list({ cluster: 'c-1', run: 'o/p/d/other' })).events).to.deep.equal([])
    expect((await runs.list({ cluster: 'c-2' })).events).to.deep.equal([])
    const guard = stack.agents[0]?.report().guard
    expect(guard?.byType['run-metadata'].bytesOut).to.be.above(0)
  })

  it('are watched from a cursor without a gap', async () => {
    await startAgent()
    await post({ events: [event('before')] })
    await eventually(async () => (await kept()).length === 1, 'it is kept')
    const abort = new AbortController()
    const told: string[] = []
    const { cursor } = await runs.list({ cluster: 'c-1', limit: 1 })
    const watching = (async () => {
      for await (const { events } of runs.watch(
        { cluster: 'c-1', cursor },
        { signal: abort.signal },
      ))
        told.push(...events.map((one) => one.event?.message ?? ''))
    })().catch(() => undefined)
    for (let i = 0; i < 5; i++) await post({ events: [event(String(i))] })
    await eventually(() => told.length === 5, 'they are told')
    expect(told).to.deep.equal(['0', '1', '2', '3', '4'])
    abort.abort()
    await watching
  })

  it('wait while no gateway is there, and are told once, over restarts of both', async () => {
    const spill = { 'events.spill': join(stack.pki.folder, 'spill'), 'events.queueMax': '64KiB' }
    const agent = await startAgent(spill)
    stack.gateway.stop()
    const all = Array.from({ length: 40 }, (_, i) => `${String(i)} ${'x'.repeat(1500)}`)
    for (const message of all.slice(0, 20)) await post({ events: [event(message), event('')] })
    agent.stop()
    stack.agents.length = 0
    await startGateway()
    await startAgent(spill)
    for (const message of all.slice(20)) await post({ events: [event(message)] })
    await eventually(async () => (await kept()).length === 60, 'all are kept')
    expect((await messages()).filter((one) => one !== '')).to.deep.equal(all)
  })

  it('hold up none behind them where the gateway does not take them', async () => {
    const directory = join(stack.pki.folder, 'spill')
    const keyFile = join(stack.pki.folder, 'state', 'events.key')
    // As an agent of another version may have left it.
    mkdirSync(join(stack.pki.folder, 'state'), { recursive: true, mode: 0o700 })
    const left = new Spill({ directory, keyFile, bytesMax: 1_000_000 }, systemRandom)
    left.append(
      ['1', 'x'.repeat(3000), '3', '4', 'y'.repeat(3000)].map((message, i) =>
        toBinary(
          EntrySchema,
          create(EntrySchema, {
            ...{ stream: 'ab', number: BigInt(i + 1) },
            event: create(RunEventSchema, { action, attempt: 1, phase: Phase.RUNNING, message }),
          }),
        ),
      ),
    )
    const agent = await startAgent({ 'events.spill': directory })
    await post({ events: [event('after')] })
    await eventually(async () => (await kept()).length === 4, 'they are kept')
    expect(await messages()).to.deep.equal(['1', '3', '4', 'after'])
    expect(agent.report().runs).to.deep.include({ delivered: 4, dropped: 2, waiting: 0 })
  })

  it('are taken of an executor that a reload has brought', async () => {
    const agent = await stack.startAgent()
    expect(agent.report().runs).to.equal(undefined)
    const row = readExecutor({
      name: 'e',
      type: 'grpc',
      url: 'http://127.0.0.1:1',
      images: ['registry.internal/*'],
    })
    await agent.reload(() => ({ ...agent.settings, executors: [row] }))
    await eventually(() => agent.report().runs !== undefined, 'the queue is open')
    const task = { name: 'train', image: 'registry.internal/x' }
    agent.events.dispatched(
      create(DispatchRequestSchema, { executor: 'e', action, attempt: 1, task }),
    )
    await eventually(async () => (await kept()).length === 1, 'it is kept')
  })

  it('stay at the agent while it is locked down', async () => {
    const agent = await startAgent()
    agent.guard.guard.lockDown('incident')
    await post({ events: [event('held')] })
    expect(agent.report().runs?.waiting).to.equal(1)
    agent.guard.guard.lockDown(undefined)
    agent.events.hurry()
    await eventually(async () => (await kept()).length === 1, 'it is kept')
  })

  it('hold what an executor was handed, for a task that it took', async () => {
    const agent = await startAgent()
    const task = { name: 'train', image: 'registry.internal/x' }
    const request = { executor: 'e', action, attempt: 2, task }
    agent.events.dispatched(create(DispatchRequestSchema, request))
    await eventually(async () => (await kept()).length === 1, 'it is kept')
    expect((await kept())[0]?.event?.task?.name).to.equal('train')
  })

  for (const [what, body, headers, status, text] of [
    ['no JSON', '{', {}, 400, 'no PostRequest'],
    ['a field that is unknown', { evts: [] }, {}, 400, 'no PostRequest'],
    ['an event without a phase', { events: [{ action, attempt: 1 }] }, {}, 400, 'phase'],
    ['too many', { events: Array.from({ length: 101 }, () => event('')) }, {}, 400, 'at most 100'],
    ['another form', 'x', { 'content-type': 'text/plain' }, 415, 'POST application/json'],
    ['a body over 64 KiB', 'x'.repeat(65_537), {}, 413, 'length'],
  ] as const)
    it(`are refused as ${what}, in words`, async () => {
      await startAgent()
      const [code, answer] = await post(body, headers)
      expect([code, answer]).to.satisfy(() => code === status && answer.includes(text), answer)
      expect(stack.agents[0]?.report().runs?.accepted).to.equal(0)
    })

  it('are refused where they come faster than they are taken', async () => {
    await startAgent()
    const codes = await Promise.all(
      Array.from({ length: 320 }, async () => {
        // The oldest of over 64 connections may be hung up on.
        return await post({ events: [] }).then(
          ([code]) => code,
          () => 0,
        )
      }),
    )
    for (let i = 0; !codes.includes(429) && i < 400; i++)
      codes.push((await post({ events: [] }))[0])
    expect(codes).to.include(429)
  })

  it('end their connection where they are bytes of nothing, and no other', async () => {
    await startAgent()
    for (const odd of [
      '\0\0\0\0',
      'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n',
      'GET / HTTP/9\r\n\r\n',
      'PRI * HT',
    ])
      await new Promise<void>((resolve) => {
        const socket = connect(socketPath, () => socket.end(odd))
        socket
          .on('error', () => undefined)
          .on('close', resolve)
          .resume()
      })
    expect((await post({ events: [event('good')] }))[0]).to.equal(200)
  })

  it('are told of a cursor that is none, and more than one answer holds', async () => {
    const reason = async (promise: Promise<unknown>) => await promise.then(() => '', reasonOfError)
    expect(await reason(runs.list({ cluster: 'c-1', cursor: 'x' }))).to.include('CURSOR_INVALID')
    expect(await reason(runs.list({ cluster: 'c-1', limit: 501 }))).to.include('QUERY_REFUSED')
  })

  it('are told in as many answers as it takes, each of a bounded size', async () => {
    const agent = await startAgent()
    const argument = 'x'.repeat(4000)
    const task = {
      name: 'train',
      image: 'registry.internal/x',
      arguments: Array(10).fill(argument),
    }
    for (let attempt = 1; attempt <= 80; attempt++)
      agent.events.dispatched(
        create(DispatchRequestSchema, { executor: 'e', action, attempt, task }),
      )
    await eventually(() => agent.report().runs?.delivered === 80, 'all are delivered')
    const told: number[] = []
    for (let cursor = ''; ;) {
      const page = await runs.list({ cluster: 'c-1', limit: 500, cursor })
      if (page.events.length === 0) break
      expect(page.events.length).to.be.below(80)
      told.push(...page.events.map((one) => one.event?.attempt ?? 0))
      cursor = page.cursor
    }
    expect(told).to.deep.equal(Array.from({ length: 80 }, (_, i) => i + 1))
  })
})
