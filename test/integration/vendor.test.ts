import { ServerCredentials } from '@grpc/grpc-js'
import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import type { RpcChannel } from '../../src/rpc/channel.ts'
import type { RpcError } from '../../src/rpc/status.ts'
import type { Metadata } from '../../src/wire/metadata.ts'
import { rejection } from '../support/code-of.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, CALLER, GATEWAY } from '../support/pki.ts'
import { noteText } from '../support/seen.ts'
import { Stack } from '../support/stack.ts'
import { AcmeServer, job, writeDescriptors } from '../support/vendor/acme-server.ts'

const POLICY = `version: 1
metadata: [served-by, cost, tenant]
unknownFields: refuse
rules:
  - {name: all, callers: ["*"], methods: ["*"]}
`

describe("a vendor's own services behind the agent", function () {
  let stack: Stack
  let server: AcmeServer
  let agent: Agent
  let channel: RpcChannel
  let descriptors: string
  let port: number

  before(async () => {
    stack = await Stack.start()
    server = new AcmeServer()
    port = await server.listen()
    descriptors = join(stack.pki.folder, 'acme.pb')
    writeDescriptors(descriptors)
    writeFileSync(join(stack.pki.folder, 'policy.yaml'), POLICY)
    agent = await stack.startAgent(
      flags({ target: `grpc://127.0.0.1:${String(port)}`, descriptors }),
    )
    channel = (await stack.connect()).cluster('c-1').channel
  })
  after(() => {
    server.stop()
    stack.stop()
  })

  const flags = (row: object, more: Record<string, string> = {}): Record<string, string> => ({
    'policy.file': join(stack.pki.folder, 'policy.yaml'),
    allow: '[]',
    services: JSON.stringify([{ name: 'acme', ...row }]),
    ...more,
  })
  const failure = async (call: Promise<unknown>): Promise<RpcError> => {
    const error = (await call.catch((cause: unknown) => cause)) as RpcError
    noteText(error.message)
    return error
  }

  it('are offered method by method, each with the data that its description declares', async () => {
    const { tunnels } = await (await stack.connect()).getCluster('c-1')
    const own = tunnels[0]?.methods.filter(({ name }) => name.startsWith('acme.')) ?? []
    expect(own.map(({ name, kind, dataType }) => [name, kind, dataType])).to.have.deep.members([
      ['acme.v1.Jobs/Get', 'unary', 'metric'],
      ['acme.v1.Jobs/Watch', 'serverStream', 'metric'],
      ['acme.v1.Jobs/Put', 'clientStream', 'metric'],
      ['acme.v1.Jobs/Chat', 'bidi', 'metric'],
      ['acme.v1.Jobs/Describe', 'unary', 'task-definition'],
    ])
    expect(agent.services.report().services).to.deep.include.members([
      {
        ...{ name: 'acme', dataType: 'by method', target: `grpc://127.0.0.1:${String(port)}` },
        health: agent.services.report().services[0]?.health,
      },
    ])
  })

  it('are called with one answer, with metadata as the policy lets it through, and who calls', async () => {
    let head: Metadata = {}
    let tail: Metadata = {}
    const answer = await channel.unary('acme.v1.Jobs/Get', job('a'), {
      metadata: { tenant: 'x', 'postern-caller': 'root', other: 'y' },
      timeoutMs: 5000,
      onHeaders: (told) => (head = told),
      onTrailers: (told) => (tail = told),
    })
    expect(answer.equals(job('a'))).to.equal(true)
    expect({ ...head }).to.deep.equal({ 'served-by': 'acme' })
    expect({ ...tail }).to.deep.equal({ cost: '7' })
    expect(server.seen).to.include({
      ...{ tenant: 'x', 'postern-caller': 'tester', 'postern-caller-known': 'gateway' },
    })
    expect(server.seen).to.not.have.property('other')
    expect(server.deadlineMs).to.be.within(1000, 5100)
  })

  it('stream answers, requests and both', async () => {
    const many: Buffer[] = []
    for await (const one of channel.serverStream('acme.v1.Jobs/Watch', job('w'))) many.push(one)
    expect(many.map(String)).to.deep.equal(Array.from({ length: 3 }, () => String(job('w'))))
    async function* three(): AsyncGenerator<Buffer> {
      for (const name of ['a', 'b', 'c']) yield await Promise.resolve(job(name))
    }
    const sum = await channel.clientStream('acme.v1.Jobs/Put', three())
    expect(sum.equals(Buffer.concat(['a', 'b', 'c'].map(job)))).to.equal(true)
    const echoed: Buffer[] = []
    for await (const one of channel.bidi('acme.v1.Jobs/Chat', three())) echoed.push(one)
    expect(echoed.map(String)).to.deep.equal(['a', 'b', 'c'].map((name) => String(job(name))))
  })

  it('pass large messages on as they are', async () => {
    const large = Buffer.concat([Buffer.from([0x12, 0x80, 0x89, 0x7a]), Buffer.alloc(2_000_000)])
    const answer = await channel.unary('acme.v1.Jobs/Get', large)
    expect(answer.equals(large)).to.equal(true)
  })

  it('have their status told and none of their words, unless the row says so', async () => {
    const error = await failure(channel.unary('acme.v1.Jobs/Get', job('fail')))
    expect(error).to.include({ status: 'NOT_FOUND' })
    expect(error.message).to.not.include('hunter2')
    expect({ ...error.metadata }).to.deep.equal({ cost: '7' })
    const stream = (async () => {
      const got: Buffer[] = []
      for await (const one of channel.serverStream('acme.v1.Jobs/Watch', job('fail'))) got.push(one)
    })()
    expect(await failure(stream)).to.include({ status: 'ABORTED' })
    expect(stack.log.lines.map((line) => JSON.stringify(line)).join()).to.not.include('hunter2')
  })

  it('judge what holds metadata field by field, and pass on what was judged', async () => {
    const describe_ = 'acme.v1.Jobs/Describe'
    expect((await channel.unary(describe_, job('a'))).equals(job('a'))).to.equal(true)
    const before = server.calls
    const unknown = Buffer.concat([job('a'), Buffer.from([0x7a, 1, 0x78])])
    expect(await failure(channel.unary(describe_, unknown))).to.include({ status: 'INTERNAL' })
    expect(await failure(channel.unary(describe_, Buffer.from([0xff])))).to.include({
      status: 'INTERNAL',
    })
    // The vendor's option asks for more than the catalog allows, and does not get it.
    const large = Buffer.concat([Buffer.from([0x12, 0x80, 0x89, 0x7a]), Buffer.alloc(2_000_000)])
    expect(await failure(channel.unary(describe_, large))).to.include({
      status: 'RESOURCE_EXHAUSTED',
    })
    expect(server.calls).to.equal(before)
  })

  it('hear of deadlines and of callers that give up', async () => {
    const begun = server.calls
    const late = channel.unary('acme.v1.Jobs/Get', job('never'), { timeoutMs: 2000 })
    expect(await failure(late)).to.include({ status: 'DEADLINE_EXCEEDED' })
    // A call whose time was over before its server had it ends there, too, but untold.
    const hasBegun = server.calls - begun
    await eventually(() => server.cancelled === hasBegun, 'the server has heard of it')
    const abort = new AbortController()
    const call = failure(channel.unary('acme.v1.Jobs/Get', job('never'), { signal: abort.signal }))
    await eventually(() => server.calls === begun + hasBegun + 1, 'it runs')
    abort.abort()
    expect(await call).to.include({ status: 'CANCELLED' })
    await eventually(() => server.cancelled === hasBegun + 1, 'the server has heard of it')
  })

  it('are refused while their health check fails', async () => {
    server.isServing = false
    await eventually(
      () => agent.services.report().services[0]?.health?.isDown === true,
      'the agent has seen it',
    )
    const error = await failure(channel.unary('acme.v1.Jobs/Get', job('a')))
    expect(error.message).to.include('SERVICE_DOWN')
    server.isServing = true
    await eventually(
      () => agent.services.report().services[0]?.health?.isDown === false,
      'the agent has seen it',
    )
  })

  it('are reached again after their server has restarted', async () => {
    server.stop()
    const gone = await failure(channel.unary('acme.v1.Jobs/Get', job('a')))
    expect(gone.status).to.equal('UNAVAILABLE')
    server = new AcmeServer()
    await server.listen(`127.0.0.1:${String(port)}`)
    expect((await channel.unary('acme.v1.Jobs/Get', job('b'))).equals(job('b'))).to.equal(true)
  })

  it('lie behind a unix socket, by names in the settings alone, and change by a reload', async () => {
    const socket = join(stack.pki.folder, 'acme.sock')
    const local = new AcmeServer()
    await local.listen(`unix:${socket}`)
    const methods = [{ name: 'acme.v1.Jobs/Get', dataType: 'metric' }]
    const row = { target: `unix:${socket}`, methods, errorTexts: 'pass' }
    const settings = stack.agentSettings(await stack.pki.issue(AGENT), flags(row))
    await agent.reload(() => settings)
    expect((await channel.unary('acme.v1.Jobs/Get', job('c'))).equals(job('c'))).to.equal(true)
    expect(local.calls).to.equal(1)
    const error = await failure(channel.unary('acme.v1.Jobs/Get', job('fail')))
    expect(error.message).to.include('hunter2')
    const gone = await failure(channel.unary('acme.v1.Jobs/Describe', job('c')))
    expect(gone).to.include({ code: 'METHOD_UNKNOWN' })
    local.stop()
  })

  it('are reached over TLS with certificates both ways, by a name of their own', async () => {
    const files = await stack.pki.issue(GATEWAY)
    const read = (path: string): Buffer => readFileSync(path)
    const credentials = ServerCredentials.createSsl(
      read(files.bundleFile),
      [{ private_key: read(files.keyFile), cert_chain: read(files.certificateFile) }],
      true,
    )
    const secure = new AcmeServer()
    const securePort = await secure.listen('127.0.0.1:0', credentials)
    const own = await stack.pki.issue(CALLER)
    const target = `grpcs://127.0.0.1:${String(securePort)}`
    const row = { target, descriptors, caFile: files.bundleFile, serverName: 'localhost' }
    const identity = { certificateFile: own.certificateFile, keyFile: own.keyFile }
    const issued = await stack.pki.issue(AGENT)
    const settings = (services: object) => () => stack.agentSettings(issued, flags(services))
    await agent.reload(settings({ ...row, ...identity }))
    expect((await channel.unary('acme.v1.Jobs/Get', job('d'))).equals(job('d'))).to.equal(true)
    await agent.reload(settings(row))
    expect((await failure(channel.unary('acme.v1.Jobs/Get', job('d')))).status).to.equal(
      'UNAVAILABLE',
    )
    secure.stop()
  })

  for (const [what, row, text] of [
    ['neither descriptors nor methods', {}, 'no method of its descriptors'],
    ['a file of descriptors that is none', { descriptors: '/etc/hostname' }, 'descriptor set'],
    ['a file of descriptors that is not there', { descriptors: '/nowhere.pb' }, 'ENOENT'],
    [
      'metadata that has no description',
      { methods: [{ name: 'a.B/C', dataType: 'task-definition' }] },
      'needs descriptors',
    ],
    ['our own type', { methods: [{ name: 'a.B/C', dataType: 'own' }] }, 'declares own'],
  ] as const)
    it(`are refused with ${what}, and nothing changes`, async () => {
      const target = { target: 'grpc://127.0.0.1:1' }
      const settings = stack.agentSettings(
        await stack.pki.issue(AGENT),
        flags({ ...target, ...row }),
      )
      const before = agent.services.server.offers.length
      const error = await rejection(
        agent.reload(() => settings),
        'CONFIG_INVALID',
      )
      expect(agent.services.server.offers.length).to.equal(before)
      expect(error.message).to.include(text)
    })
})
