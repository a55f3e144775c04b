import { expect } from 'chai'
import fc from 'fast-check'
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Logs, type Client } from '../../src/client.ts'
import type { Agent } from '../../src/agent/agent.ts'
import { TailResponse_Marker_Kind as Kind } from '../../src/gen/postern/dataplane/v1/logs_pb.js'
import { eventually } from '../support/eventually.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'

const labels = { run: 'r1', task: 'train' }
const source = 'tasks'

describe('logs', function () {
  let stack: Stack
  let agent: Agent
  let logs: Client<typeof Logs>
  let folder: string
  let path: string

  beforeEach(async () => {
    stack = await Stack.start()
    folder = join(stack.pki.folder, 'logs')
    mkdirSync(join(folder, 'r1'), { recursive: true })
    path = join(folder, 'r1', 'train.log')
    const redact = [{ pattern: 'password=\\S+', replacement: 'password=…' }]
    const row = {
      name: source,
      type: 'files',
      directory: folder,
      path: '{run}/{task}.log',
      lineMax: '256B',
      redact,
    }
    agent = await stack.startAgent({ logs: JSON.stringify([row]) })
    logs = (await stack.connect()).cluster('c-1').service(Logs)
  })
  afterEach(() => {
    stack.stop()
  })

  const write = (from: number, to: number): void => {
    for (let i = from; i <= to; i++) appendFileSync(path, `line ${String(i)}\n`)
  }
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, i) => `line ${String(from + i)}`)

  interface Told {
    readonly lines: string[]
    readonly markers: Kind[]
    cursor: string
  }
  /** Reads until so many lines have come, or to the end. */
  const read = async (more: object = {}, count = Infinity): Promise<Told> => {
    const told: Told = { lines: [], markers: [], cursor: '' }
    const given = new AbortController()
    try {
      for await (const { lines, marker, cursor } of logs.tail(
        { source, labels, ...more },
        { signal: given.signal },
      )) {
        told.lines.push(...lines.map(({ text }) => text))
        if (marker !== undefined) told.markers.push(marker.kind)
        if (cursor !== '') told.cursor = cursor
        if (told.lines.length >= count) break
      }
    } finally {
      given.abort()
    }
    return told
  }
  const reasonOf = async (more: object): Promise<string> =>
    await read(more).then(() => 'it passed', reasonOfError)

  it('are told from the beginning, or the last lines, up to a limit, filtered and redacted', async () => {
    write(1, 100)
    expect((await read()).lines).to.deep.equal(numbers(1, 100))
    expect((await read({ last: 3 })).lines).to.deep.equal(numbers(98, 100))
    expect((await read({ last: 1000 })).lines).to.deep.equal(numbers(1, 100))
    expect((await read({ limit: 5n })).lines).to.deep.equal(numbers(1, 5))
    expect((await read({ filter: 'line [5-6]0$' })).lines).to.deep.equal(['line 50', 'line 60'])
    writeFileSync(path, `user=a password=hunter2 x password=z\r\n${'x'.repeat(1000)}\nä\n`)
    const answers = []
    for await (const one of logs.tail({ source, labels })) answers.push(...one.lines)
    expect(answers.map(({ text, cut, redacted }) => [text, cut, redacted])).to.deep.equal([
      ['user=a password=… x password=…', false, 2],
      ['x'.repeat(256), true, 0],
      ['ä', false, 0],
    ])
    expect((await read({ filter: 'hunter' })).lines).to.deep.equal([])
  })

  it('are of a span of time, by the times that lines begin with', async () => {
    const at = (second: number): string => `2026-01-01T00:00:0${String(second)}Z`
    writeFileSync(
      path,
      `${[1, 2, 3, 4].map((one) => `${at(one)} s${String(one)}\n  more of s${String(one)}`).join('\n')}\n`,
    )
    const span = {
      since: timestampFromMs(Date.parse(at(2))),
      until: timestampFromMs(Date.parse(at(4))),
    }
    expect((await read(span)).lines.filter((one) => one.startsWith('  '))).to.deep.equal([
      '  more of s2',
      '  more of s3',
    ])
  })

  it('go on by a cursor over rotations by name, by copy and by compression, without gap or doubling', async () => {
    write(1, 50)
    let { cursor, lines } = await read({ limit: 0n, follow: true }, 50)
    expect(lines).to.deep.equal(numbers(1, 50))
    // By name.
    write(51, 60)
    renameSync(path, `${path}.1`)
    write(61, 70)
    ;({ cursor, lines } = await read({ cursor }))
    expect(lines).to.deep.equal(numbers(51, 70))
    // By copy.
    write(71, 80)
    copyFileSync(path, `${path}.copy`)
    truncateSync(path, 0)
    write(81, 90)
    ;({ cursor, lines } = await read({ cursor }))
    expect(lines).to.deep.equal(numbers(71, 90))
    // By compression.
    write(91, 95)
    renameSync(path, `${path}.2`)
    writeFileSync(`${path}.2.gz`, gzipSync(readFileSync(`${path}.2`)))
    rmSync(`${path}.2`)
    write(96, 99)
    const last = await read({ cursor })
    expect([last.lines, last.markers]).to.deep.equal([numbers(91, 99), []])
    // From the beginning, over all of it.
    expect((await read()).lines.length).to.equal(99)
  })

  it('say where lines are missing, as they were cut away before they were read', async () => {
    write(1, 10)
    const { cursor } = await read({}, 10)
    write(11, 20)
    rmSync(path)
    write(30, 35)
    const { lines, markers } = await read({ cursor })
    expect([lines, markers]).to.deep.equal([numbers(30, 35), [Kind.GAP]])
  })

  it('are followed as they come, over rotations, and into a file that is not there yet', async () => {
    const following = read({ follow: true }, 300)
    for (let i = 0; i < 3; i++) {
      write(i * 100 + 1, i * 100 + 50)
      await new Promise((resolve) => setTimeout(resolve, 300))
      write(i * 100 + 51, i * 100 + 100)
      await new Promise((resolve) => setTimeout(resolve, 300))
      if (i === 0) renameSync(path, `${path}.1`)
      if (i === 1) {
        copyFileSync(path, `${path}.2`)
        truncateSync(path, 0)
      }
    }
    const { lines, markers } = await following
    expect(lines).to.deep.equal(numbers(1, 300))
    expect(markers).to.deep.equal([])
    await eventually(() => agent.services.server.runningCount === 0, 'the tail has ended')
  })

  it('are read no faster than the caller reads, and dropped where it says so', async () => {
    const line = `${'y'.repeat(99)}\n`
    writeFileSync(path, line.repeat(400_000))
    const before = process.memoryUsage().rss
    const tail = logs.tail({ source, labels })[Symbol.asyncIterator]()
    await tail.next()
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(process.memoryUsage().rss - before).to.be.below(200 * 1024 * 1024)
    await tail.return?.()
    const { markers, lines } = await read({ drop: true })
    expect(markers).to.deep.equal([Kind.DROPPED])
    expect(lines.length).to.be.within(9000, 10_600)
  })

  it('that rotation has packed are unpacked as they are read, whatever they stand for', async () => {
    write(1, 2000)
    const packed = `${path}.1.gz`
    writeFileSync(packed, gzipSync(readFileSync(path)))
    rmSync(path)
    write(2001, 2003)
    expect((await read()).lines).to.deep.equal(numbers(1, 2003))
    writeFileSync(`${path}.2.gz`, gzipSync(Buffer.alloc(400 * 1024 * 1024)))
    const before = process.memoryUsage().rss
    const { lines } = await read({ filter: 'line 2003' })
    expect(lines).to.deep.equal(['line 2003'])
    expect(process.memoryUsage().rss - before).to.be.below(300 * 1024 * 1024)
    for (const bytes of ['', 'no gzip', gzipSync('a\nb\n').subarray(0, 20)]) {
      writeFileSync(`${path}.2.gz`, bytes)
      expect((await read({ last: 1 })).lines).to.deep.equal(['line 2003'])
      expect((await read({ filter: 'line 1$' })).lines).to.deep.equal(['line 1'])
    }
  })

  it('are of labels and files below their folder alone', async () => {
    write(1, 1)
    expect(await reasonOf({ source: 'x' })).to.include('SOURCE_UNKNOWN')
    expect(await reasonOf({ labels: {} })).to.include('label run is missing')
    expect(await reasonOf({ labels: { ...labels, more: 'x' } })).to.include('run, task')
    expect(await reasonOf({ labels: { run: 'r2', task: 'x' } })).to.include('LOG_UNKNOWN')
    for (const run of ['..', '.', '', 'a/b', '../r1', 'a\0', 'ä', '~', '-x'])
      expect(await reasonOf({ labels: { run, task: 'x' } }), run).to.include('LOG_UNKNOWN')
    writeFileSync(join(stack.pki.folder, 'secret.log'), 'a secret\n')
    symlinkSync(join(stack.pki.folder, 'secret.log'), join(folder, 'r1', 'link.log'))
    symlinkSync(stack.pki.folder, join(folder, 'out'))
    expect((await read({ labels: { run: 'r1', task: 'link' } })).lines).to.deep.equal([])
    expect(await reasonOf({ labels: { run: 'out', task: 'secret' } })).to.include('LOG_UNKNOWN')
    for (const filter of ['(', 'a(?=b)', '\\1', 'x'.repeat(2000)])
      expect(await reasonOf({ filter }), filter.slice(0, 9)).to.include('QUERY_REFUSED')
    const { cursor } = await read({ follow: true }, 1)
    mkdirSync(join(folder, 'r3'))
    expect(await reasonOf({ cursor, labels: { run: 'r3', task: 'x' } })).to.include(
      'of another log',
    )
  })

  it('tell no part of a line that a rule would have known as a whole', async () => {
    const secret = 'password=hunter2hunter2'
    writeFileSync(path, `one\n${'y'.repeat(250)} ${secret}\n${'z'.repeat(2000)} ${secret}\nlast\n`)
    const whole = await read()
    expect(whole.lines.length).to.equal(4)
    expect(whole.lines.join()).not.to.include('hunter')
    const { cursor } = await read({ limit: 1n })
    const fields = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const forged = (offset: number): string =>
      Buffer.from(JSON.stringify(fields.with(4, offset))).toString('base64url')
    const all = readFileSync(path).length
    for (let offset = 0; offset < all; offset++) {
      const { lines } = await read({ cursor: forged(offset) })
      expect(
        lines.every((one) => whole.lines.includes(one)),
        String(offset),
      ).to.equal(true)
    }
  }).timeout(120_000)

  it('refuse any cursor that is none, by a typed error', async () => {
    write(1, 1)
    const { cursor } = await read({ follow: true }, 1)
    const fields = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const other = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.constant(null),
      fc.double(),
      fc.constant('x'.repeat(600)),
    )
    const altered = fc.tuple(fc.nat(fields.length - 1), other).map(([at, value]) => {
      const changed = fields.map((one, i) => (i === at ? value : one))
      return Buffer.from(JSON.stringify(changed)).toString('base64url')
    })
    await fc.assert(
      fc.asyncProperty(fc.oneof(altered, fc.string({ minLength: 1 })), async (text) => {
        const said = await reasonOf({ cursor: text })
        expect(said === 'it passed' || said.startsWith('CURSOR_INVALID'), said).to.equal(true)
      }),
      { numRuns: 150 },
    )
  })
})
