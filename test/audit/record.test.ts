import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { Permit } from '../../src/contract/call-guard.ts'
import { ask } from '../guard/asks.ts'
import { TestRecord } from './record.ts'

describe('the record', () => {
  let record: TestRecord
  beforeEach(() => {
    record = new TestRecord()
  })
  afterEach(() => {
    record.remove()
  })

  const texts = async (): Promise<string[]> =>
    (await record.verify()).findings.map(
      ({ file, line, text }) => `${file}:${String(line)} ${text}`,
    )

  it('has one line for a call, two for a stream, and nothing of what crossed', async () => {
    record.calls(1)
    const stream = record.guard.decide(ask({ name: 'a.b.Service/Tail', kind: 'serverStream' }))
    if (!Permit.is(stream)) throw new Error(stream.text)
    stream.pass('out', 5)
    record.clock.advance(1.5)
    stream.ended('CANCELLED')
    record.writer.flush()
    const [call, opened, closed] = record.lines
    expect(call).to.deep.equal({
      ...{ n: 1, at: '2026-01-01T00:00:00.001Z', caller: 'billing', known: 'gateway', user: null },
      ...{ method: 'a.b.Service/Read', type: 'cluster-record', decision: 'allow', rule: 'reads' },
      ...{ gateway: 'gw-1', region: 'eu-west-1', sealed: false },
      ...{ outcome: 'OK', in: 10, out: 20, ms: 1 },
    })
    expect(opened).to.deep.include({ n: 2, stream: 'r1-1', method: 'a.b.Service/Tail' })
    expect(closed).to.deep.equal({
      ...{ n: 3, at: '2026-01-01T00:00:00.002Z', stream: 'r1-1' },
      ...{ end: 'CANCELLED', in: 0, out: 5, ms: 1.5 },
    })
    expect(await record.verify()).to.deep.include({ findings: [], lines: 3, first: 1, last: 3 })
  })

  it('counts refusals of one kind, so that no flood of them pushes anything out', async () => {
    for (let i = 0; i < 5000; i++) record.guard.decide(ask({ caller: 'evil' }))
    for (let i = 0; i < 5000; i++) record.guard.decide(ask({ caller: `evil-${String(i)}` }))
    record.recorder.start()
    record.clock.advance(60_001)
    record.writer.flush()
    const refusals = record.lines
    expect(refusals.length).to.be.below(2100)
    expect(refusals[0]).to.deep.include({ decision: 'deny', code: 'POLICY_DENIED', why: 'no rule' })
    const sum = refusals.reduce((total, { repeated = 1 }) => total + Number(repeated), 0)
    expect(sum).to.equal(10_000)
    expect(await texts()).to.deep.equal([])
  })

  it('sums our own calls up by the hour', () => {
    for (let i = 0; i < 3; i++) {
      const permit = record.guard.permitOwn('postern.v1.Tunnel/Heartbeat')
      permit.pass('out', 100)
      permit.ended('OK')
    }
    record.recorder.stop()
    expect(record.lines).to.have.length(1)
    expect(record.lines[0]).to.deep.include({
      own: 'postern.v1.Tunnel/Heartbeat',
      ...{ hour: '2026-01-01T00:00:00.000Z', calls: 3, refused: 0, in: 0, out: 300 },
    })
  })

  it('shows every line that was removed, doubled, moved or altered in any field', async () => {
    record.calls(2)
    record.guard.decide(ask({ caller: 'evil' }))
    record.recorder.event({ kind: 'push', text: 'x', gateway: 'g' })
    record.calls(1)
    record.recorder.stop()
    const [path = ''] = record.files
    const whole = readFileSync(path, 'utf8')
    const lines = whole.split('\n').slice(0, -1)
    const tampered: string[][] = []
    for (const [index, line] of lines.entries()) {
      const others = lines.filter((_, at) => at !== index)
      // Without the last checkpoint the record only ends earlier: the anchor is for that.
      if (index < lines.length - 1) tampered.push(others)
      tampered.push([...lines.slice(0, index), line, ...lines.slice(index)])
      if (index > 0)
        tampered.push([
          ...lines.slice(0, index - 1),
          line,
          lines[index - 1]!,
          ...lines.slice(index + 1),
        ])
      for (const altered of alterations(line))
        tampered.push([...lines.slice(0, index), altered, ...lines.slice(index + 1)])
    }
    expect(tampered.length).to.be.greaterThan(120)
    for (const one of tampered) {
      writeFileSync(path, `${one.join('\n')}\n`)
      expect(await texts(), one.join('\n')).to.not.deep.equal([])
    }
    writeFileSync(path, whole)
    expect(await texts()).to.deep.equal([])
  })

  it('shows that its end was cut off by an anchor that covers it', async () => {
    record.calls(3)
    record.recorder.stop()
    const [path = ''] = record.files
    const whole = readFileSync(path)
    expect(await record.verify(record.anchors)).to.deep.include({ findings: [], anchoredTo: 3 })
    const batch = whole.lastIndexOf('{"batch":', whole.length - 300)
    for (const length of [batch, whole.indexOf('\n') + 1, 0]) {
      truncateSync(path, length)
      const { findings } = await record.verify(record.anchors)
      expect(
        findings.some(({ text }) => text.includes('an anchor covers line')),
        String(length),
      ).to.equal(true)
      writeFileSync(path, whole)
    }
  })

  it('goes on over restarts, kills and lines that were cut off within', async () => {
    record.calls(2)
    record.reopen()
    record.calls(1)
    record.recorder.stop()
    record.reopen()
    record.calls(1)
    const [path = ''] = record.files
    appendFileSync(path, '{"n":5,"at":"2026')
    expect((await texts())[0]).to.include('cut off')
    record.reopen()
    record.calls(1)
    expect(record.lines.map(({ n }) => n)).to.deep.equal([1, 2, 3, 4, 5, 6])
    expect(record.lines.find(({ event }) => event === 'torn')).to.deep.include({ bytes: 17 })
    expect(await record.verify(record.anchors)).to.deep.include({ findings: [], lines: 6 })
    // Whole lines without their batch are kept, and hashed with the next.
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.slice(0, text.lastIndexOf('{"batch":')))
    record.reopen()
    record.calls(1)
    expect(record.lines.at(-1)?.n).to.equal(7)
    expect(await texts()).to.deep.equal([])
  })

  it('goes over to new files by size and age without a break, and drops what is old enough', async () => {
    record.remove()
    record = new TestRecord({ segmentBytesMax: 2000, bytesMax: 6000, keepMs: 3_600_000 })
    record.recorder.stop()
    record.calls(4)
    record.clock.advance(86_400_000)
    record.calls(1)
    expect(record.files.length).to.be.greaterThan(1)
    expect(await texts()).to.deep.equal([])
    const { utimesSync } = await import('node:fs')
    for (let i = 0; i < 12; i++) {
      for (const path of record.files.slice(0, -1)) utimesSync(path, 1, 1)
      record.calls(1)
    }
    const before = record.files.length
    expect(record.text.length).to.be.below(6500)
    expect(record.files[0]).to.not.include('00000001')
    expect(await texts()).to.deep.equal([])
    // What the record does not say that it dropped is missing.
    rmSync(record.files[0] ?? '')
    expect(record.files.length).to.equal(before - 1)
    expect((await texts()).join()).to.include('are missing')
  })

  it('drops nothing that is young, and stops calls where it is full', () => {
    record.remove()
    record = new TestRecord({ segmentBytesMax: 1000, bytesMax: 3000 })
    expect(() => {
      record.calls(20)
    }).to.throw('cannot be written')
    expect(record.log.find('the record cannot be written')?.facts.reason).to.include('audit.keep')
    expect(record.files[0]).to.include('00000001')
  })

  it('takes calls again once it can be written, and says what was lost meanwhile', async () => {
    record.calls(1)
    record.recorder.stop()
    const decide = (): string => {
      const decision = record.guard.decide(ask())
      return Permit.is(decision) ? 'allow' : decision.code
    }
    // A folder in the place of the file: no user can append to it, root neither.
    const [path = ''] = record.files
    const whole = readFileSync(path)
    rmSync(path)
    const { mkdirSync, rmdirSync } = await import('node:fs')
    mkdirSync(path)
    record.recorder.event({ kind: 'clock', text: '' })
    record.writer.flush()
    expect([decide(), decide()]).to.deep.equal(['RECORD_UNWRITABLE', 'RECORD_UNWRITABLE'])
    record.writer.flush()
    rmdirSync(path)
    writeFileSync(path, whole)
    record.writer.flush()
    expect(decide()).to.equal('allow')
    expect(record.lines.some(({ event }) => event === 'resumed')).to.equal(true)
    expect(await texts()).to.deep.equal([])
  })

  it('stops calls on a disk that is full, loses no line that it wrote, and goes on once there is room', async function () {
    if (process.getuid?.() !== 0) throw new Error('needs root, for a file system of its own')
    const disk = mkdtempSync(join(tmpdir(), 'postern-full-'))
    const mount = (...args: string[]) => spawnSync('mount', args).status
    expect(mount('-t', 'tmpfs', '-o', 'size=256k', 'none', disk)).to.equal(0)
    try {
      record = new TestRecord({ directory: join(disk, 'audit') })
      record.calls(10)
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(150 * 1024))
      let decided = 0
      const decide = (): boolean => {
        const decision = record.guard.decide(ask({ tunnel: String(decided++) }))
        if (Permit.is(decision)) decision.ended('OK')
        return Permit.is(decision)
      }
      while (decided < 5000 && decide()) record.writer.flush()
      expect(decided).to.be.below(5000)
      expect(decide()).to.equal(false)
      expect(record.log.find('the record cannot be written')?.facts.reason).to.include(
        'disk is full',
      )
      rmSync(join(disk, 'ballast'))
      record.writer.flush()
      expect(decide()).to.equal(true)
      record.writer.flush()
      expect(await texts()).to.deep.equal([])
      expect(record.lines.length).to.be.above(10)
    } finally {
      record.recorder.stop()
      expect(spawnSync('umount', [disk]).status).to.equal(0)
    }
  })

  it('is not believed by a key that its owner does not vouch for', async () => {
    record.calls(1)
    record.recorder.stop()
    const [path = ''] = record.files
    // Somebody with the whole machine writes it anew, under a key of theirs.
    const other = new TestRecord()
    other.calls(2)
    other.recorder.stop()
    writeFileSync(path, readFileSync(other.files[0] ?? ''))
    other.remove()
    expect((await texts()).join()).to.include('does not vouch for')
    expect((await record.verify([], false)).findings).to.deep.equal([])
  })

  it('of any other content is told, and never thrown out of', async () => {
    record.calls(1)
    record.recorder.stop()
    const [path = ''] = record.files
    for (const bytes of [
      Buffer.alloc(300 * 1024, 0x61),
      Buffer.from('null\n'),
      Buffer.from('{"checkpoint":{}}\n{"batch":{}}\n[]\n{"n":"x"}\n'),
      Buffer.from([0xff, 0xfe, 0x0a, 0x00]),
      Buffer.from('{"segment":{"number":1,"n":1,"prev":"x","identity":"","key":"AAAA"}}\n'),
    ]) {
      writeFileSync(path, bytes)
      expect(await texts()).to.not.deep.equal([])
    }
    chmodSync(path, 0o600)
  })
})

/** The line with each of its fields altered, and with one more. */
function alterations(line: string): string[] {
  const value = JSON.parse(line) as Record<string, unknown>
  const inner = Object.entries(value).find(([, one]) => typeof one === 'object' && one !== null)
  if (inner !== undefined) {
    const [name, fields] = inner as [string, Record<string, unknown>]
    return Object.keys(fields).map((key) =>
      JSON.stringify({ [name]: { ...fields, [key]: other(fields[key]) } }),
    )
  }
  return [
    ...Object.keys(value).map((key) => JSON.stringify({ ...value, [key]: other(value[key]) })),
    JSON.stringify({ ...value, more: 1 }),
  ]
}

function other(value: unknown): unknown {
  if (typeof value === 'number') return value + 1
  if (typeof value === 'string')
    return value.startsWith('0') ? `1${value.slice(1)}` : `0${value.slice(1)}`
  if (typeof value === 'boolean') return !value
  return 'x'
}
