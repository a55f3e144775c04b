import { expect } from 'chai'
import { createFileRegistry, fromBinary, type DescService } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  RpcError,
  serve,
  startAgent,
  type EmbeddedAgent,
  type HandlerContext,
} from '../../src/embedded-agent.ts'
import { eventually } from '../support/eventually.ts'
import { codeOf, rejection } from '../support/code-of.ts'
import { AGENT, CALLER } from '../support/pki.ts'
import { runCli } from '../support/run-cli.ts'
import { Stack } from '../support/stack.ts'
import { job, writeDescriptors } from '../support/vendor/acme-server.ts'

const POLICY = `version: 1
metadata: [served-by, cost]
rules:
  - {name: all, callers: ["*"], methods: ["*"]}
`

interface Job {
  readonly name: string
}

describe('an agent in a program of its own', function () {
  let stack: Stack
  let agent: EmbeddedAgent
  let jobs: DescService
  let settings: Record<string, unknown>
  const [started, aborted] = [[], []] as [string[], string[]]

  /** Handlers of `acme.v1.Jobs`; the description is read at run time, so that they are typed here. */
  const handlers = {
    get: async ({ name }: Job, context: HandlerContext) => {
      if (name === 'fail')
        throw new RpcError('NOT_FOUND', 'no such job', { metadata: { cost: '9' } })
      if (name === 'bug') throw new Error('the password is hunter2')
      started.push(name)
      if (name === 'never')
        await new Promise((_resolve, reject) => {
          context.signal.addEventListener('abort', () => {
            aborted.push(name)
            reject(new RpcError('CANCELLED', 'gone'))
          })
        })
      context.sendHeaders({
        'served-by': context.caller.kind === 'service' ? context.caller.name : '',
      })
      context.trailers = { cost: '7' }
      return { name }
    },
    watch: async function* ({ name }: Job) {
      for (let at = 0; at < 3; at++) yield await Promise.resolve({ name: `${name}${String(at)}` })
    },
    put: async (all: AsyncIterable<Job>) => {
      const names: string[] = []
      for await (const { name } of all) names.push(name)
      return { name: names.join('+') }
    },
    chat: async function* (all: AsyncIterable<Job>) {
      for await (const one of all) yield one
    },
    describe: (one: Job) => one,
  }

  before(async () => {
    stack = await Stack.start({ 'api.listen': '127.0.0.1:0' })
    const folder = stack.pki.folder
    writeDescriptors(join(folder, 'acme.pb'))
    const set = fromBinary(FileDescriptorSetSchema, readFileSync(join(folder, 'acme.pb')))
    jobs = createFileRegistry(set).getService('acme.v1.Jobs')!
    writeFileSync(join(folder, 'policy.yaml'), POLICY)
    const files = await stack.pki.issue(AGENT)
    settings = {
      'gateway.address': `127.0.0.1:${String(stack.agentPort)}`,
      'gateway.serverName': 'localhost',
      'status.socket': join(folder, 'agent.sock'),
      'state.directory': join(folder, 'state'),
      'policy.file': join(folder, 'policy.yaml'),
      'identity.certificateFile': files.certificateFile,
      'identity.keyFile': files.keyFile,
      'identity.bundleFile': files.bundleFile,
      trustDomain: stack.gateway.settings.trustDomain,
    }
    const services = [serve(jobs, handlers as never)]
    agent = await startAgent({ settings, services, statusSocket: true, logger: stack.log })
    await agent.ready()
  })
  after(() => {
    agent.stop()
    stack.stop()
  })

  const channel = async () => (await stack.connect()).cluster('c-1').channel

  it('has its handlers called, of every kind', async () => {
    const calls = await channel()
    let tail = {}
    const onTrailers = (told: object): void => {
      tail = told
    }
    expect(
      (await calls.unary('acme.v1.Jobs/Get', job('a'), { onTrailers })).equals(job('a')),
    ).to.equal(true)
    expect({ ...tail }).to.deep.equal({ cost: '7' })
    const many: string[] = []
    for await (const one of calls.serverStream('acme.v1.Jobs/Watch', job('w')))
      many.push(String(one))
    expect(many).to.deep.equal(['w0', 'w1', 'w2'].map((name) => String(job(name))))
    async function* two(): AsyncGenerator<Buffer> {
      for (const name of ['x', 'y']) yield await Promise.resolve(job(name))
    }
    expect(String(await calls.clientStream('acme.v1.Jobs/Put', two()))).to.equal(String(job('x+y')))
    const back: string[] = []
    for await (const one of calls.bidi('acme.v1.Jobs/Chat', two())) back.push(String(one))
    expect(back).to.deep.equal(['x', 'y'].map((name) => String(job(name))))
  })

  it('tells callers its own errors, and nothing of a fault', async () => {
    const calls = await channel()
    const failed = (name: string): Promise<RpcError> =>
      calls.unary('acme.v1.Jobs/Get', job(name)).then(
        () => expect.fail(),
        (error: unknown) => error as RpcError,
      )
    expect(await failed('fail')).to.include({ status: 'NOT_FOUND', rawMessage: 'no such job' })
    const fault = await failed('bug')
    expect(fault.status).to.equal('INTERNAL')
    expect(fault.message).to.not.include('hunter2')
  })

  it('hears of callers that give up', async () => {
    const calls = await channel()
    const abort = new AbortController()
    const call = calls.unary('acme.v1.Jobs/Get', job('never'), { signal: abort.signal })
    await eventually(() => started.includes('never'), 'the handler runs')
    abort.abort()
    await call.catch(() => undefined)
    await eventually(() => aborted.length === 1, 'the handler has heard of it')
  })

  it('is described to callers, and answers JSON', async () => {
    const { certificateFile, keyFile, bundleFile } = await stack.pki.issue(CALLER)
    const url = `https://localhost:${String(stack.addresses.api?.port)}/acme.v1.Jobs/Get`
    const { stdout } = await promisify(execFile)('curl', [
      ...['-sS', '--cacert', bundleFile, '--cert', certificateFile, '--key', keyFile],
      ...['-H', 'content-type: application/json', '-H', 'postern-cluster: c-1'],
      ...['-d', '{"name":"by-json"}', url],
    ])
    expect(JSON.parse(stdout)).to.deep.equal({ name: 'by-json' })
  })

  it('answers the commands where its socket is open', async () => {
    const socket = join(stack.pki.folder, 'agent.sock')
    const { status, stdout } = await runCli('agent', ['status', '--socket', socket])
    expect(stdout).to.include('acme.v1.Jobs')
    expect(status).to.equal(0)
    expect(agent.health).to.deep.equal({ health: 'healthy', reasons: [] })
  })

  it('refuses at the start what is wrong', async () => {
    codeOf(() => serve(jobs, { get: handlers.get } as never), 'CONFIG_INVALID')
    codeOf(
      () => serve(jobs, handlers as never, { 'acme.v1.Jobs/Get': 'task-io' }),
      'CONFIG_INVALID',
    )
    await rejection(startAgent({ settings: { ...settings, 'no.such': 1 } }), 'CONFIG_INVALID')
    await rejection(startAgent({ settings, services: [{ name: 'x' }] }), 'CONFIG_INVALID')
    const stopped = AbortSignal.abort()
    await rejection(startAgent({ settings, signal: stopped }), 'CANCELLED')
  })

  it('drains: what runs ends, and no more is taken', async () => {
    await agent.drain()
    const error = await (
      await channel()
    )
      .unary('acme.v1.Jobs/Get', job('a'))
      .catch((e: unknown) => e)
    expect((error as RpcError).status).to.equal('UNAVAILABLE')
  })
})
