import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { publicKeyPath } from '../../src/audit/audit-key.ts'
import type { Checkpoint } from '../../src/audit/chain.ts'
import { numbered } from '../../src/cli/agent-audit/place.ts'
import { readRecord } from '../../src/audit/read-record.ts'
import { TestRecord } from './record.ts'

/** What both verifiers say: they must agree. */
async function verdict(record: TestRecord, anchors: readonly Checkpoint[] = []): Promise<string> {
  const { findings } = await record.verify(anchors)
  const anchorFile = join(record.folder, 'anchors')
  writeFileSync(
    anchorFile,
    anchors.map((checkpoint) => `${JSON.stringify({ checkpoint })}\n`).join(''),
  )
  const args = [record.directory, '--key', publicKeyPath(record.directory), '--anchor', anchorFile]
  const { status, stdout, stderr } = spawnSync('python3', ['tools/verify_record.py', ...args], {
    encoding: 'utf8',
  })
  const texts = findings.map(({ text }) => text).join('; ')
  expect(status, `${texts}\n${stdout}${stderr}`).to.equal(findings.length === 0 ? 0 : 1)
  return texts
}

/** Writes the only file anew, as one who has no key can: `edit` gives each numbered line, or leaves it out. */
function rewrite(
  record: TestRecord,
  edit: (line: string, index: number) => string | undefined,
  keepsCheckpoint: (index: number) => boolean = () => false,
): { hash: string; n: number } {
  const [path = ''] = record.files
  let hash = '0'.repeat(64)
  let [n, from, open, out, index, checkpoints] = [0, 1, '', '', 0, 0]
  for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) {
    if (line.startsWith('{"checkpoint"')) {
      if (keepsCheckpoint(checkpoints++)) open += `${line}\n`
    } else if (line.startsWith('{"batch"')) {
      if (open === '') continue
      const prev = hash
      hash = createHash('sha256').update(`${prev}\n${open}`).digest('hex')
      out += `${open}${JSON.stringify({ batch: { from, to: n, prev, hash } })}\n`
      open = ''
      from = n + 1
    } else if (line.startsWith('{"n":')) {
      const edited = edit(line, index++)
      if (edited !== undefined) open += `${edited.replace(/^\{"n":\d+/, `{"n":${String(++n)}`)}\n`
    } else open += `${line}\n`
  }
  writeFileSync(path, out)
  return { hash, n }
}

describe('a forged record', () => {
  let record: TestRecord
  beforeEach(() => {
    record = new TestRecord()
    for (let minute = 0; minute < 5; minute++) {
      record.calls(4)
      record.clock.advance(61_000)
    }
    record.calls(1)
    record.writer.stop()
  })
  afterEach(() => {
    record.remove()
  })

  it('that somebody wrote anew without the key is not whole to either verifier', async () => {
    expect(await verdict(record, record.anchors)).to.equal('')
    rewrite(record, (line, i) => (i % 2 === 0 ? undefined : line.replace('billing', 'nobody')))
    expect(await verdict(record)).to.include('no line of it is signed')
  })

  it('whose later checkpoints were taken off is not whole where it goes on for over two minutes', async () => {
    rewrite(
      record,
      (line) => line,
      (index) => index === 0,
    )
    expect(await verdict(record)).to.include(
      'go on for over two minutes and no checkpoint signs them',
    )
  })

  it('is not vouched for by an anchor that nobody signed, nor by one for other lines', async () => {
    const good = record.anchors.at(-1)!
    const { hash, n } = rewrite(record, (line) => line.replace('billing', 'nobody'))
    for (const anchor of [
      { ...good, hash, n },
      { ...good, hash, n: 999_999 },
    ]) {
      expect(await verdict(record, [anchor])).to.include('is signed by no key of the record')
      expect((await record.verify([anchor])).anchoredTo).to.equal(0)
    }
    expect(await verdict(record, [good])).to.include('by a batch that is not in the record')
  })

  it('of which nothing is left is not whole', async () => {
    for (const path of record.files) rmSync(path)
    expect(await verdict(record)).to.equal('it has no line')
  })

  it('has no lines that one reader sees and another does not', async () => {
    const [path = ''] = record.files
    const whole = readFileSync(path)
    const [first = ''] = whole.toString().split('\n').slice(1)
    const rest = first.slice('{"n":1,'.length)
    const odd = [
      `{ "n":1,${rest}`,
      `{"at":"x","n":1,"caller":"evil"}`,
      `{"n":1.0,${rest}`,
      `{"n":true,${rest}`,
      `{"n":01,${rest}`,
      `{"n":1,"x":NaN,${rest}`,
      `{"n":1,"n":2,${rest}`,
      `\ufeff${first}`,
      `{"segment":{},"n":1}`,
      `{"checkpoint":{},"n":1}`,
      `{"batch":{"from":1,"to":1,"prev":"0","hash":"0"},"n":1}`,
    ]
    for (const line of odd) {
      writeFileSync(path, whole)
      rewrite(
        record,
        (one, i) => (i === 0 ? '{"n":1}' : one),
        () => true,
      )
      writeFileSync(
        path,
        readFileSync(path, 'utf8').replace('{"n":1}', () => line),
      )
      expect(await verdict(record), line).to.not.equal('')
    }
    writeFileSync(
      path,
      Buffer.from(whole.toString('latin1').replace('billing', 'bill\u00ffing'), 'latin1'),
    )
    expect(await verdict(record)).to.include('none of a record')
    let shown = 0
    for await (const line of readRecord(record.directory)) if (numbered(line)) shown++
    expect(shown).to.equal(21)
  })

  it('is told from one whose oldest files were dropped, by files that are gone themselves', async () => {
    record.remove()
    record = new TestRecord({ segmentBytesMax: 1500, bytesMax: 4500, keepMs: 3_600_000 })
    for (let i = 0; i < 60; i++) {
      for (const path of record.files.slice(0, -1)) utimesSync(path, 1, 1)
      record.calls(2)
      record.clock.advance(61_000)
    }
    record.writer.stop()
    expect(Number(record.files[0]?.slice(-14, -6))).to.be.above(10)
    expect(record.lines.filter(({ event }) => event === 'dropped').length).to.be.below(10)
    expect(await verdict(record)).to.equal('')
    rmSync(record.files[0] ?? '')
    expect(await verdict(record)).to.include('are missing')
  })
})
