import { expect } from 'chai'
import fc from 'fast-check'
import { mkdirSync, readdirSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import { Logs, ObjectStore, Secrets, type Client } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { DataType } from '../../src/gen/postern/v1/data_pb.js'
import { eventually } from '../support/eventually.ts'
import { LokiStandIn } from '../support/logs/log-stand-ins.ts'
import { PodLogs } from '../support/logs/pod-logs.ts'
import { secretFile } from '../support/logs/log-stack.ts'
import { S3Server } from '../support/objects/object-server.ts'
import { GATEWAY } from '../support/pki.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { sealingKey } from '../support/sealing.ts'
import { Stack } from '../support/stack.ts'

/** What a stranger might write: any characters, and what means something to paths, queries and shells. */
const ODD = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc
    .array(
      fc.constantFrom(
        ...['..', '/', '%2f', '%00', '\0', '"', "'", '}', '{', '=~', ' or 1=1', '|', '--', 'a'],
        ...['\u202e', '\uff0f', '\n', ';', '$(id)', '*', '?', '#', '\\', 'runs/', '.', 'é', ':'],
      ),
      { maxLength: 12 },
    )
    .map((parts) => parts.join('')),
  fc.nat({ max: 3000 }).map((length) => 'x'.repeat(length)),
)
const RUNS = { numRuns: 150 }

describe('whatever callers and workloads write', function () {
  let stack: Stack
  let client: GatewayClient
  let folder: string
  let seal: ReturnType<typeof sealingKey>
  const servers: { stop(): void }[] = []
  let loki: LokiStandIn
  let pods: PodLogs
  let s3: S3Server

  before(async () => {
    stack = await Stack.start()
    folder = stack.pki.folder
    const files = await stack.pki.issue(GATEWAY)
    const caFile = stack.pki.bundleFile
    loki = new LokiStandIn(files)
    pods = new PodLogs(files)
    s3 = new S3Server(files)
    servers.push(loki, pods, s3)
    const keys = '[default]\naws_access_key_id=AKIDTEST\naws_secret_access_key=secret-of-tests\n'
    const store = {
      ...{ name: 'artifacts', bucket: 'artifacts', caFile, type: 's3', region: 'eu-west-1' },
      ...{ endpoint: await s3.start(), credentialsFile: secretFile(stack, 'aws', keys) },
      ...{ addressing: 'path', prefixes: { 'task-io': ['runs/'] } },
    }
    const logs = [
      {
        ...{ name: 'loki', type: 'loki', url: await loki.start(), tenant: 'acme', caFile },
        ...{ match: { run: '{run}' }, tokenFile: secretFile(stack, 'loki', 'of-loki') },
      },
      {
        ...{ name: 'pods', type: 'kubernetes', url: await pods.start(), caFile },
        tokenFile: secretFile(stack, 'pod-token', 'of-the-pod'),
        ...{ namespace: 'team-billing', pod: 'train-{run}', container: 'main' },
      },
      { name: 'kept', type: 'objects', store: 'artifacts', prefix: 'logs/{run}/' },
      { name: 'units', type: 'journald', match: { _SYSTEMD_UNIT: '{run}' }, directory: folder },
    ]
    seal = sealingKey(folder, 'console')
    const recipient = await identityToRecipient(await generateIdentity())
    mkdirSync(join(folder, 'kept-secrets'), { mode: 0o700 })
    const row = { name: 'main', type: 'files', directory: join(folder, 'kept-secrets'), recipient }
    mkdirSync(join(folder, 'run'), { mode: 0o700 })
    await stack.startAgent({
      stores: JSON.stringify([store]),
      logs: JSON.stringify(logs),
      secrets: JSON.stringify([row]),
      'seal.callers': JSON.stringify([{ caller: 'console', pin: seal.pin }]),
      'events.socket': join(folder, 'run', 'events.sock'),
    })
    client = await stack.connect()
  })
  after(() => {
    stack.stop()
    for (const server of servers) server.stop()
  })
  const sealed = () => {
    const pins = [stack.agents[0]!.report().seal.pin]
    return client.sealed('c-1', { ...seal, pins })
  }
  const reason = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(() => 'it passed', reasonOfError)

  it('as a label, cursor, filter or time of logs ends in a typed error or in lines', async () => {
    const logs: Client<typeof Logs> = client.cluster('c-1').service(Logs)
    const tail = async (asked: object): Promise<void> => {
      let count = 0
      for await (const one of logs.tail(asked)) count += one.lines.length
      expect(count).to.equal(0)
    }
    const seconds = fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n })
    const time = seconds.map((value) => ({ seconds: value, nanos: 0 }))
    const wish = fc.record({
      source: fc.constantFrom('loki', 'pods', 'kept', 'units', 'none'),
      labels: fc.dictionary(fc.oneof(fc.constant('run'), ODD), ODD, { maxKeys: 2 }),
      cursor: fc.oneof({ weight: 3, arbitrary: fc.constant('') }, ODD),
      filter: fc.oneof({ weight: 3, arbitrary: fc.constant('') }, ODD),
      since: fc.option(time, { nil: undefined }),
      until: fc.option(time, { nil: undefined }),
      last: fc.nat({ max: 2 ** 32 - 1 }),
    })
    const typed =
      /^(it passed|LOG_UNKNOWN|SOURCE_UNKNOWN|CURSOR_INVALID|QUERY_REFUSED|MALFORMED_CALL)/
    await fc.assert(
      fc.asyncProperty(wish, async (asked) => {
        expect(await reason(tail(asked))).to.match(typed)
      }),
      RUNS,
    )
    // Times that lie the wrong way round, which journalctl itself takes for a mistake.
    const ends = { since: { seconds: 1n, nanos: 0 }, until: { seconds: -1n, nanos: 0 } }
    expect(await reason(tail({ source: 'units', labels: { run: 'x' }, ...ends }))).to.equal(
      'it passed',
    )
    // Nothing but the one log was asked for, whatever the label held.
    expect(
      pods.requests.every((one) =>
        /^GET \/api\/v1\/namespaces\/team-billing\/pods\/train-[\w.-]+(\/log\?.*)?$/.test(one),
      ),
    ).to.equal(true)
  })

  it('as a key of an object ends in a typed error, or in a URL of that very object', async () => {
    const objects = sealed().service(ObjectStore)
    await fc.assert(
      fc.asyncProperty(ODD, fc.boolean(), async (text, isBelow) => {
        const key = isBelow ? `runs/${text}` : text
        const named = { store: 'artifacts', dataType: DataType.TASK_IO, key }
        const said = await objects.createDownloadUrl(named).then(({ url }) => url!, reasonOfError)
        if (typeof said === 'string') expect(said).to.match(/^(OBJECT_KEY_REFUSED|MALFORMED_CALL)/)
        else {
          const { pathname } = new URL(said.url)
          expect(decodeURIComponent(pathname)).to.equal(`/artifacts/${key}`)
          expect(key.startsWith('runs/')).to.equal(true)
        }
      }),
      RUNS,
    )
  })

  it('as a name or scope of a secret ends in a typed error, or in a file below the folder', async () => {
    const secrets = sealed().service(Secrets)
    await fc.assert(
      fc.asyncProperty(ODD, ODD, ODD, async (name, organisation, domain) => {
        const scope = { organisation, domain, project: '' }
        const value = Buffer.from('x')
        const said = await reason(secrets.put({ backend: 'main', scope, name, value }))
        expect(said).to.match(/^(it passed|SECRET_NAME_REFUSED|MALFORMED_CALL)/)
      }),
      RUNS,
    )
    expect(readdirSync(folder)).not.to.include('x.age')
  })

  it('into the socket of events ends in a typed error or is taken, and the agent goes on', async () => {
    const socketPath = join(folder, 'run', 'events.sock')
    const post = async (text: string): Promise<number> =>
      await new Promise((resolve, reject) => {
        const asked = request(
          {
            ...{ socketPath, path: '/postern.dataplane.v1.Events/Post', method: 'POST' },
            headers: {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(text),
            },
          },
          (response) => {
            response.resume()
            response.on('end', () => {
              resolve(response.statusCode ?? 0)
            })
          },
        )
        asked.on('error', reject)
        asked.end(text)
      })
    const action = { organisation: 'o', project: 'p', domain: 'd', run: 'r', action: 'a' }
    const good = { action, attempt: 1, phase: 'PHASE_RUNNING', message: 'm' }
    const event = fc.record(
      {
        action: fc.oneof(fc.constant(action), fc.dictionary(ODD, ODD), fc.jsonValue()),
        attempt: fc.oneof(fc.integer(), fc.double(), fc.jsonValue()),
        phase: fc.oneof(fc.constant('PHASE_FAILED'), fc.integer(), ODD),
        at: fc.oneof(ODD, fc.constant('9999-12-31T23:59:59.999999999Z')),
        message: ODD,
        failure: fc.oneof(fc.record({ kind: ODD, text: ODD }), fc.jsonValue()),
        attributes: fc.oneof(fc.dictionary(ODD, ODD), fc.jsonValue()),
        task: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.array(event, { maxLength: 3 }), fc.jsonValue()),
        async (events) => {
          expect(await post(JSON.stringify({ events }))).to.be.oneOf([200, 400, 429])
        },
      ),
      RUNS,
    )
    await eventually(
      async () => (await post(JSON.stringify({ events: [good] }))) === 200,
      'it goes on',
    )
  })
})
