import { expect } from 'chai'
import { generateKeyPairSync } from 'node:crypto'
import { TailResponse_Marker_Kind as Kind } from '../../src/gen/postern/dataplane/v1/logs_pb.js'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import {
  AzureMonitorStandIn,
  GoogleLogsStandIn,
  LokiStandIn,
  type KeptLine,
} from '../support/logs/log-stand-ins.ts'
import { LogStack, secretFile } from '../support/logs/log-stack.ts'
import { Moto, MOTO_CREDENTIALS } from '../support/moto.ts'
import { IdentityEndpoint } from '../support/objects/azurite.ts'
import { eventually } from '../support/eventually.ts'
import { GATEWAY } from '../support/pki.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'

const labels = { run: 'r1' }
const NS = 1_000_000n

interface Service {
  readonly row: object
  /** Keeps lines, each so long after the one before it. */
  readonly add: (lines: readonly string[], stepNs?: bigint) => Promise<void>
}

interface Keeping {
  readonly kept: KeptLine[]
}

describe('logs of services', function () {
  let stack: Stack
  let at: LogStack
  let lastNs: bigint
  const undo: (() => void)[] = []
  beforeEach(async () => {
    stack = await Stack.start()
    lastNs = BigInt(Date.now() - 600_000) * NS
  })
  afterEach(() => {
    stack.stop()
    for (const act of undo.splice(0)) act()
  })
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, i) => `line ${String(from + i)}`)
  const kept =
    ({ kept: lines }: Keeping, own: Record<string, string>): Service['add'] =>
    async (texts, stepNs = 1000n) => {
      for (const text of texts) {
        lastNs += stepNs
        lines.push({ timeNs: lastNs, text, labels: own })
        lines.push({ timeNs: lastNs, text: 'of somebody else', labels: { ...own, run: 'r2' } })
      }
      await Promise.resolve()
    }

  const services: Record<string, () => Promise<Service>> = {
    loki: async () => {
      const server = new LokiStandIn(await stack.pki.issue(GATEWAY))
      undo.push(() => {
        server.stop()
      })
      const tokenFile = secretFile(stack, 'loki-token', 'of-loki\n')
      const row = {
        ...{ type: 'loki', url: await server.start(), tenant: 'acme', tokenFile },
        ...{ caFile: stack.pki.bundleFile, match: { namespace: 'team', run: '{run}' } },
      }
      return { row, add: kept(server, { namespace: 'team', run: 'r1' }) }
    },
    google: async () => {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const server = new GoogleLogsStandIn(await stack.pki.issue(GATEWAY), publicKey)
      undo.push(() => {
        server.stop()
      })
      const account = {
        ...{ type: 'service_account', client_email: 'a@b.iam.gserviceaccount.com' },
        ...{ private_key_id: 'k' },
        private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      }
      const row = {
        ...{ type: 'google', project: 'acme-project', endpoint: await server.start() },
        ...{ caFile: stack.pki.bundleFile, match: { 'labels.run': '{run}' } },
        credentialsFile: secretFile(stack, 'google.json', JSON.stringify(account)),
      }
      return { row, add: kept(server, { run: 'r1' }) }
    },
    azure: async () => {
      const server = new AzureMonitorStandIn(await stack.pki.issue(GATEWAY))
      await IdentityEndpoint.shared()
      undo.push(() => {
        server.stop()
      })
      const row = {
        ...{ type: 'azure', url: await server.start(), caFile: stack.pki.bundleFile },
        ...{ workspace: '01234567-89ab-cdef-0123-456789abcdef', match: { run: '{run}' } },
      }
      return { row, add: kept(server, { run: 'r1' }) }
    },
    cloudwatch: async () => {
      const moto = await Moto.start()
      undo.push(() => {
        moto.stop()
      })
      const ask = (operation: string, more: object) =>
        moto.ask('logs', `Logs_20140328.${operation}`, { logGroupName: 'tasks', ...more })
      await ask('CreateLogGroup', {})
      await ask('CreateLogStream', { logStreamName: 'run-r1' })
      const credentialsFile = secretFile(stack, 'aws', MOTO_CREDENTIALS)
      const row = {
        ...{ type: 'cloudwatch', region: 'eu-west-1', endpoint: moto.url, credentialsFile },
        ...{ group: 'tasks', stream: 'run-{run}' },
      }
      const add: Service['add'] = async (texts, stepNs = NS) => {
        for (let i = 0; i < texts.length; i += 1000) {
          const logEvents = texts.slice(i, i + 1000).map((message) => {
            lastNs += stepNs
            return { timestamp: Number(lastNs / NS), message }
          })
          await ask('PutLogEvents', { logStreamName: 'run-r1', logEvents })
        }
      }
      return { row, add }
    },
  }

  for (const [name, open] of Object.entries(services)) {
    describe(`of ${name}`, () => {
      let service: Service
      beforeEach(async () => {
        service = await open()
        at = await LogStack.start(stack, { settle: '0s', interval: '1s', ...service.row }, labels)
      })

      it('are told in order, page by page, from a cursor without gap or doubling', async () => {
        await service.add(numbers(1, 2500))
        expect((await at.read()).lines).to.deep.equal(numbers(1, 2500))
        const first = await at.read({ limit: 1203n })
        expect(first.lines).to.deep.equal(numbers(1, 1203))
        const rest = await at.read({ cursor: first.cursor })
        expect(rest.lines).to.deep.equal(numbers(1204, 2500))
        expect(rest.markers).to.deep.equal([])
        await service.add(numbers(2501, 2503))
        const more = await at.read({ cursor: rest.cursor })
        expect(more.lines).to.deep.equal(numbers(2501, 2503))
        expect((await at.read({ last: 3 })).lines).to.deep.equal(numbers(2501, 2503))
        expect((await at.read({ last: 3, cursor: first.cursor, limit: 1n })).lines).to.deep.equal([
          'line 1204',
        ])
      })

      it('are told once each where many are of one moment', async () => {
        await service.add(numbers(1, 3))
        await service.add([...numbers(4, 300)], 0n)
        for (const limit of [2n, 5n, 290n]) {
          const first = await at.read({ limit })
          const rest = await at.read({ cursor: first.cursor })
          expect([...first.lines, ...rest.lines].sort()).to.deep.equal(numbers(1, 300).sort())
        }
      })

      it('are followed', async () => {
        await service.add(numbers(1, 3))
        let count = 3
        const told = await at.read({ follow: true }, 9, (all) => {
          if (all !== count) return
          count += 3
          void service.add(numbers(all + 1, all + 3))
        })
        expect(told.lines).to.deep.equal(numbers(1, 9))
      })

      it('are of a span of time', async () => {
        const startMs = Number(lastNs / NS)
        await service.add(numbers(1, 10), 1000n * NS)
        const span = {
          since: timestampFromMs(startMs + 3000),
          until: timestampFromMs(startMs + 6000),
        }
        expect((await at.read(span)).lines).to.deep.equal(numbers(3, 5))
        expect((await at.read({ ...span, follow: true })).lines).to.deep.equal(numbers(3, 5))
        expect(await at.reason({ since: timestampFromMs(startMs - 90_000_000_000) })).to.include(
          'QUERY_REFUSED',
        )
      })

      it('are refused with labels and cursors that are none', async () => {
        await service.add(numbers(1, 3))
        const { cursor } = await at.read({ limit: 1n })
        for (const odd of [{}, { run: '' }, { run: 'a"b' }, { run: '../x' }, { run: 'r1', x: 'y' }])
          expect(await at.reason({ labels: odd }), JSON.stringify(odd)).to.include('LOG_UNKNOWN')
        expect(await at.reason({ labels: { run: 'r2' }, cursor })).to.include('CURSOR_INVALID')
        for (const odd of ['x', Buffer.from('[2,"1","",-1,"x"]').toString('base64url')])
          expect(await at.reason({ cursor: odd })).to.include('CURSOR_INVALID')
      })
    })
  }

  it('say so where a service keeps more of one moment than it tells', async () => {
    const { row, add } = await services.loki!()
    at = await LogStack.start(stack, { settle: '0s', ...row }, labels)
    await add(numbers(1, 1200), 0n)
    const told = await at.read()
    expect(told.lines.length).to.equal(1000)
    expect(told.markers).to.deep.equal([Kind.GAP])
  })

  it('say so once where they are followed', async () => {
    const { row, add } = await services.loki!()
    at = await LogStack.start(stack, { settle: '0s', ...row }, labels)
    await add(numbers(1, 1200), 0n)
    let looks = 0
    const told = await at.read({ follow: true }, 1003, () => {
      if (looks++ === 2) void add(numbers(1201, 1203))
    })
    expect(told.lines.slice(-3)).to.deep.equal(numbers(1201, 1203))
    expect(told.markers).to.deep.equal([Kind.GAP])
  })

  it('are told however long their lines are, page by page and the last', async () => {
    const { row, add } = await services.loki!()
    at = await LogStack.start(stack, { settle: '0s', lineMax: '64KiB', ...row }, labels)
    const long = Array.from({ length: 1500 }, (_, i) => `${String(i)} ${'x'.repeat(20_000)}`)
    await add(long)
    expect((await at.read()).lines).to.deep.equal(long)
    const last = await at.read({ last: 1200 })
    expect(last.lines).to.deep.equal(long.slice(-last.lines.length))
  })

  it('go back no further by a cursor than the row reaches', async () => {
    const { row, add } = await services.loki!()
    at = await LogStack.start(stack, { settle: '0s', reach: '5m', ...row }, labels)
    await add(numbers(1, 3))
    lastNs = BigInt(Date.now() - 60_000) * NS
    await add(numbers(4, 6))
    const { cursor } = await at.read({ limit: 1n })
    const fields = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const forged = JSON.stringify([fields[0], '0', '', 0, fields.at(-1)])
    const told = await at.read({ cursor: Buffer.from(forged).toString('base64url') })
    expect(told.lines).to.deep.equal(numbers(4, 6))
    expect(told.markers).to.deep.equal([Kind.GAP])
  })

  it('run in no larger number than the agent lets', async () => {
    const { row } = await services.loki!()
    at = await LogStack.start(stack, row, labels)
    const given = new AbortController()
    const all = Array.from({ length: 17 }, () =>
      (async () => {
        for await (const one of at.logs.tail(
          { source: 'main', labels, follow: true },
          { signal: given.signal },
        ))
          expect(one.lines).to.deep.equal([])
      })().catch(reasonOfError),
    )
    expect(await Promise.race(all)).to.include('TAILS_FULL')
    given.abort()
    await Promise.all(all)
    // Each ends with the caller's word, which is on its way.
    await eventually(async () => (await at.reason({})) === 'it passed', 'others run again')
  })

  it('take filters that take long from nobody', async () => {
    const { row, add } = await services.loki!()
    at = await LogStack.start(stack, { settle: '0s', ...row }, labels)
    await add(['ab'.repeat(500)])
    for (const filter of [
      '(?:(?:a?b?){30}){30}',
      `${'(?:(?:a?b?){30}){30}'.repeat(5)}$`,
      'x'.repeat(257),
    ])
      expect(await at.reason({ filter }), filter).to.include('QUERY_REFUSED')
    expect(await at.reason({ filter: '(?i)error|warn.{1,20}(?:a|b){3}' })).to.equal('it passed')
  })

  it('wait until what comes late has come', async () => {
    const { row, add } = await services.loki!()
    at = await LogStack.start(stack, { settle: '1h', ...row }, labels)
    await add(numbers(1, 3))
    expect((await at.read()).lines).to.deep.equal([])
  })

  it('are none where the service does not take the agent’s credentials, or answers in part', async () => {
    const { row } = await services.loki!()
    const tokenFile = secretFile(stack, 'odd', 'another')
    at = await LogStack.start(stack, { ...row, tokenFile }, labels)
    expect(await at.reason({})).to.match(/^CREDENTIALS_MISSING: logs main: .*; id [0-9a-f]{8}$/)
    expect(await at.reason({ labels: {} })).to.include('LOG_UNKNOWN')
    const [use] = stack.agents[0]?.report().services.backends ?? []
    expect(use).to.deep.include({ setting: 'logs', name: 'main' })
    expect(use?.results).to.deep.equal({ succeeded: 0, refused: 1, failed: 1 })
  })
})
