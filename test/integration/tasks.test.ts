import { expect } from 'chai'
import fc from 'fast-check'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Phase, Tasks, type Client } from '../../src/client.ts'
import type { DispatchRequestSchema } from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { GrpcExecutor, HttpExecutor } from '../support/executor-server.ts'
import { GATEWAY } from '../support/pki.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { SealedStack } from '../support/sealed-stack.ts'
import { Stack } from '../support/stack.ts'

type Request = MessageInitShape<typeof DispatchRequestSchema>

const action = {
  ...{ organisation: 'acme', project: 'billing', domain: 'prod', run: 'r-17', action: 'train' },
}
const task = {
  ...{ name: 'train', version: '3', image: 'registry.internal/team/train:3' },
  command: ['python', '-m', 'train'],
  environment: { EPOCHS: '3' },
  inputs: [{ name: 'rows', value: { case: 'uri' as const, value: 's3://acme/runs/17/rows' } }],
  outputUri: 's3://acme/runs/17/out',
}
const whole = { executor: 'local', action, attempt: 1, task }

describe('tasks', () => {
  let stack: Stack
  let executor: HttpExecutor
  let grpc: GrpcExecutor
  let grpcUrl: string
  let tasks: Client<typeof Tasks>

  before(async () => {
    stack = await Stack.start()
    const files = await stack.pki.issue(GATEWAY)
    executor = new HttpExecutor(files)
    grpc = new GrpcExecutor()
    const tokenFile = join(stack.pki.folder, 'executor-token')
    writeFileSync(tokenFile, 'executor-token\n')
    chmodSync(tokenFile, 0o600)
    const images = ['registry.internal/team/*']
    grpcUrl = await grpc.start()
    const rows = [
      {
        name: 'local',
        url: `${await executor.start()}/base`,
        caFile: files.bundleFile,
        tokenFile,
        images,
      },
      { name: 'grpc', type: 'grpc', url: grpcUrl, images, digests: 'required' },
      { name: 'away', url: 'http://127.0.0.1:1', images },
    ]
    await stack.startAgent({ executors: JSON.stringify(rows) })
    tasks = (await stack.connect()).cluster('c-1').service(Tasks)
  })
  after(() => {
    stack.stop()
    executor.stop()
    grpc.stop()
  })
  const reasonOf = async (request: Request): Promise<string> =>
    await tasks.dispatch(request).then(() => 'it passed', reasonOfError)

  it('begin once for each attempt, however often they are sent, and at once', async () => {
    const answers = await Promise.all([1, 2, 3].map(() => tasks.dispatch(whole)))
    expect(answers.map(({ phase }) => phase)).to.deep.equal([
      Phase.QUEUED,
      Phase.QUEUED,
      Phase.QUEUED,
    ])
    expect(answers.filter(({ repeated }) => repeated).length).to.equal(2)
    expect(answers[0]?.message).to.equal('in line?')
    expect(executor.begun.length).to.equal(1)
    expect(executor.begun[0]?.task?.inputs[0]?.value.value).to.equal('s3://acme/runs/17/rows')
    expect((await tasks.dispatch({ ...whole, attempt: 2 })).repeated).to.equal(false)
    const other = { ...whole, task: { ...task, version: '4' } }
    expect(await reasonOf(other)).to.include('TASK_CONFLICT')
    expect(executor.begun.length).to.equal(2)
  })

  it('are told to the control plane with their definition, once for each that has begun', async () => {
    await tasks.dispatch({ ...whole, attempt: 30 })
    const accepted = stack.agents[0]?.report().runs?.accepted ?? 0
    expect(accepted).to.be.above(0)
    await tasks.dispatch({ ...whole, attempt: 30 })
    expect(stack.agents[0]?.report().runs?.accepted).to.equal(accepted)
  })

  it('are told to nobody where the call was sealed', async () => {
    const row = { name: 'grpc', type: 'grpc', url: grpcUrl, images: ['registry.internal/team/*'] }
    const sealed = await SealedStack.start({ executors: JSON.stringify([row]) })
    try {
      const before = grpc.begun.length
      await sealed
        .cluster()
        .service(Tasks)
        .dispatch({ ...whole, executor: 'grpc' })
      expect(grpc.begun.length).to.equal(before + 1)
      expect(sealed.agent.report().runs?.accepted).to.equal(0)
    } finally {
      sealed.stop()
    }
  })

  it('are aborted, and tell how they are, in bounded words', async () => {
    const { phase } = await tasks.abort({ ...whole, reason: 'no longer needed' })
    expect(phase).to.equal(Phase.ABORTED)
    const status = await tasks.status({ executor: 'local', action, attempt: 1 })
    expect([status.phase, status.exitCode]).to.deep.equal([Phase.FAILED, 137])
    expect(status.message.length).to.be.at.most(1001)
  })

  it('go over gRPC too, with images by digest where the row says so', async () => {
    const request = { ...whole, executor: 'grpc' }
    expect(await reasonOf(request)).to.match(/TASK_REFUSED.*digest/)
    const image = `registry.internal/team/train@sha256:${'a'.repeat(64)}`
    const answer = await tasks.dispatch({ ...request, task: { ...task, image } })
    expect(answer.phase).to.equal(Phase.RUNNING)
    expect(grpc.begun[0]?.task?.environment).to.deep.equal({ EPOCHS: '3' })
    expect((await tasks.abort(request)).phase).to.equal(Phase.ABORTED)
    const failed = await tasks.status(request).then(() => 'it passed', reasonOfError)
    expect(failed).to.match(/BACKEND_REFUSED.*id [0-9a-f]{8}/)
    expect(failed).not.to.include('secret words')
  })

  for (const [what, change, text] of [
    ['an image of another registry', { image: 'docker.io/evil/app' }, 'do not list'],
    ['no image', { image: '' }, 'no name of one'],
    [
      'data in line',
      { inputs: [{ name: 'rows', value: { case: 'literal', value: 'x'.repeat(1025) } }] },
      'ObjectStore/CreateUploadUrl',
    ],
    ['data in its environment', { environment: { ROWS: 'x'.repeat(1025) } }, 'CreateUploadUrl'],
    [
      'a presigned URL for an input',
      {
        inputs: [{ name: 'rows', value: { case: 'uri', value: 'https://s/k?X-Amz-Signature=1' } }],
      },
      'without a query',
    ],
    [
      'a URI of another kind',
      { inputs: [{ name: 'rows', value: { case: 'uri', value: 'javascript:alert(1)' } }] },
      'URI of s3',
    ],
    ['an input without a value', { inputs: [{ name: 'rows' }] }, 'URI of s3'],
    ['a name of its environment that is none', { environment: { 'A=B': '1' } }, 'none'],
    ['a command without end', { command: ['x'.repeat(5000)] }, 'over 4096 bytes'],
    ['an output that is no URI', { outputUri: 'out' }, 'URI of s3'],
  ] as const)
    it(`are refused with ${what}`, async () => {
      const before = executor.begun.length
      const reason = await reasonOf({ ...whole, attempt: 9, task: { ...task, ...change } as never })
      expect(reason).to.include('TASK_REFUSED').and.to.include(text)
      expect(executor.begun.length).to.equal(before)
    })

  it('are refused for an action that is none, and an executor that is not there', async () => {
    for (const change of [{ run: '../x' }, { project: '' }, { domain: 'a b' }])
      expect(await reasonOf({ ...whole, action: { ...action, ...change } })).to.include(
        'TASK_REFUSED',
      )
    expect(await reasonOf({ ...whole, attempt: 0 })).to.include('TASK_REFUSED')
    expect(await reasonOf({ ...whole, executor: 'none' })).to.include('SOURCE_UNKNOWN')
    expect(await reasonOf({ ...whole, executor: 'away' })).to.include('BACKEND_UNREACHABLE')
    expect(await reasonOf({ executor: 'local', attempt: 1 })).to.include('TASK_REFUSED')
  })

  it('may be tried again where the executor did not take them', async () => {
    executor.instead = { status: 503 }
    const request = { ...whole, attempt: 5 }
    expect(await reasonOf(request)).to.include('BACKEND_REFUSED')
    executor.instead = { status: 200, body: [] }
    expect(await reasonOf(request)).to.include('BACKEND_REFUSED')
    executor.instead = undefined
    expect(await reasonOf(request)).to.equal('it passed')
  })

  it('end with typed errors alone, whatever they hold', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(text, text, text, fc.nat(), async (image, name, uri, attempt) => {
        const odd = {
          ...task,
          image,
          inputs: [{ name, value: { case: 'uri' as const, value: uri } }],
        }
        const reason = await reasonOf({ ...whole, attempt, task: odd })
        return /TASK_REFUSED|MALFORMED_CALL|it passed/.test(reason)
      }),
      { numRuns: 100 },
    )
  })
})
