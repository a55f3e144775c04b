import { execFileSync, spawnSync } from 'node:child_process'
import { expect } from 'chai'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publicKeyPath } from '../../src/audit/audit-key.ts'
import { Permit } from '../../src/contract/call-guard.ts'
import { ask } from '../guard/asks.ts'
import { eventually } from '../support/eventually.ts'
import { runCli } from '../support/run-cli.ts'
import { TestRecord } from './record.ts'

const VERIFIER = fileURLToPath(new URL('../../tools/verify_record.py', import.meta.url))

describe('agent audit', () => {
  let record: TestRecord
  beforeEach(() => {
    record = new TestRecord()
    record.calls(3)
    record.guard.decide(ask({ caller: 'evil' }))
    const stream = record.guard.decide(ask({ name: 'a.b.Service/Tail', kind: 'serverStream' }))
    if (Permit.is(stream)) {
      stream.pass('out', 1_000_000)
      stream.ended('OK')
    }
    record.recorder.own('postern.v1.Tunnel/Heartbeat', 10, 20, true)
    record.recorder.event({ kind: 'push', gateway: 'gw-1', text: 'would widen: <b>all</b>' })
    record.recorder.stop()
  })
  afterEach(() => {
    record.remove()
  })

  const audit = (...args: string[]) =>
    runCli('agent', ['audit', ...args, '--directory', record.directory])
  const python = (...args: string[]) =>
    spawnSync(
      'python3',
      [VERIFIER, record.directory, '--key', publicKeyPath(record.directory), ...args],
      { encoding: 'utf8' },
    )
  const anchorFile = (): string => {
    const path = join(record.folder, 'anchors')
    const lines = record.anchors.map((checkpoint) => JSON.stringify({ identity: 'x', checkpoint }))
    writeFileSync(path, `${lines.join('\n')}\n`)
    return path
  }

  it('verify says that the record is whole, and how far that is proven', async () => {
    const { status, stdout } = await audit('verify')
    expect(status).to.equal(0)
    expect(stdout).to.include('lines        8, 1 to 8').and.include('record       whole')
    expect(stdout).to.include('none: what a copy elsewhere proves is not known')
    const anchored = await audit('verify', '--anchor', anchorFile(), '--json')
    expect(JSON.parse(anchored.stdout)).to.deep.include({ whole: true, anchoredTo: 8, signedTo: 8 })
  })

  it('verify finds what tools/verify_record.py finds, which shares no line with it', async () => {
    expect(python()).to.include({ status: 0 })
    expect(python('--anchor', anchorFile()).stdout).to.include('anchored     to line 8; 0 lines')
    const [path = ''] = record.files
    const whole = readFileSync(path, 'utf8')
    const lines = whole.split('\n').slice(0, -1)
    const bad = [
      whole.replace('"in":10', '"in":11'),
      whole.replace('evil', 'good'),
      whole.slice(0, -40),
      [...lines.slice(0, 4), ...lines.slice(5)].join('\n'),
      [...lines.slice(0, 4), lines[3], ...lines.slice(4)].join('\n'),
      lines.toReversed().join('\n'),
      whole.replace(/"signature":"../, '"signature":"00'),
      whole.replace(/"key":"[0-9a-f]{4}/, '"key":"0000'),
      '[]\nnull\n{"n":"x"}\n',
    ]
    for (const text of bad) {
      writeFileSync(path, text.endsWith('\n') || text === bad[2] ? text : `${text}\n`)
      const ours = await audit('verify')
      const theirs = python()
      expect([ours.status, theirs.status], `${ours.stdout}\n${theirs.stdout}`).to.deep.equal([1, 1])
    }
    writeFileSync(path, lines.slice(0, 3).join('\n').concat('\n'))
    const anchor = anchorFile()
    expect((await audit('verify', '--anchor', anchor)).stdout).to.include(
      'cut off, or written anew',
    )
    expect(python('--anchor', anchor).stdout).to.include('cut off, or written anew')
    expect(python('--key', anchor).status).to.equal(2)
  })

  it('tail prints the last lines', async () => {
    const { stdout } = await audit('tail', '--lines', '2')
    const lines = stdout.split('\n').map((line) => JSON.parse(line) as { n: number })
    expect(lines.map(({ n }) => n)).to.deep.equal([7, 8])
  })

  it('tail --follow goes on with what comes, over files, until it is told to stop', async () => {
    const seen: number[] = []
    let stop = (): void => undefined
    const args = ['audit', 'tail', '--lines', '1', '--follow', '--directory', record.directory]
    const running = runCli(
      'agent',
      args,
      {},
      {
        onResult: (text) => seen.push((JSON.parse(text) as { n: number }).n),
        onStart: (how) => (stop = how),
      },
    )
    await eventually(() => seen.length === 1, 'the last line')
    record.calls(1)
    await eventually(() => seen.length === 2, 'the next')
    record.clock.advance(86_400_001)
    record.calls(2)
    expect(record.files).to.have.length(2)
    await eventually(() => seen.length === 4, 'those of the next file')
    stop()
    expect((await running).status).to.equal(0)
    expect(seen).to.deep.equal([8, 9, 10, 11])
  })

  it('summary is the table of types with what crossed beside each', async () => {
    const { stdout, status } = await audit('summary')
    expect(status).to.equal(0)
    const row = (title: string): string =>
      stdout.split('\n').find((line) => line.startsWith(title)) ?? ''
    expect(row('Cluster records')).to.match(/metadata +4 +1 +976.6 KiB +30 B +billing$/)
    expect(row('Task inputs/outputs')).to.match(/never +0 +0 +- +-/)
    expect(row('User identity/RBAC')).to.include('stays there')
    expect(row('Own control traffic')).to.match(/metadata +1 +0 +20 B +10 B/)
    expect(stdout).to.include('record verified to 8, signed to 8, not anchored')
    expect(stdout).to.include('not covered:')
    const json = JSON.parse((await audit('summary', '--json')).stdout) as { types: object[] }
    expect(json.types).to.have.length(14)
    const later = await audit('summary', '--since', '2026-02-01')
    expect(later.stdout).to.include('nothing crossed')
    expect((await audit('summary', '--since', 'yesterday')).status).to.equal(64)
  })

  it('summary as a page needs nothing else, and takes no text for a tag', async () => {
    const path = join(record.folder, 'page.html')
    await audit('summary', '--html', path)
    const page = readFileSync(path, 'utf8')
    expect(page).to.include('Cluster records').and.include('&lt;b&gt;all')
    expect(page).to.not.match(/<script|https?:\/\/|<b>all/)
    expect(page.match(/<svg/g)).to.have.length(2)
  })

  it('summary as a page is read in a real browser: each type with what crossed, and bars that are drawn', async () => {
    const path = join(record.folder, 'page.html')
    await audit('summary', '--html', path)
    const look = (...args: string[]) =>
      spawnSync('chromium', [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
        ...[`--user-data-dir=${join(record.folder, 'browser')}`, ...args, `file://${path}`],
      ])
    const dom = look('--dump-dom').stdout.toString()
    expect(dom).to.match(
      /<tr><th scope="row">Cluster records<\/th><td>[^<]*<\/td><td class="n">\d+/,
    )
    expect(dom.match(/<rect class="b"[^>]*><\/rect>/g)?.length).to.be.above(0)
    expect(dom).to.include('What crossed')
    const image = join(record.folder, 'page.png')
    look('--window-size=1280,900', `--screenshot=${image}`)
    // A page that shows nothing is a few kilobytes.
    expect(statSync(image).size).to.be.above(20_000)
  })

  it('export writes lines for other tools', async () => {
    const jsonl = (await audit('export')).stdout.split('\n')
    expect(jsonl.map((line) => (JSON.parse(line) as { n: number }).n)).to.deep.equal([
      1, 2, 3, 4, 5, 6, 7, 8,
    ])
    const csv = (await audit('export', '--format', 'csv')).stdout.split('\n')
    expect(csv).to.have.length(9)
    expect(csv[1]).to.match(/^1,2026-01-01T00:00:00.001Z,billing,gateway,,a.b.Service\/Read,/)
    const otel = JSON.parse((await audit('export', '--format', 'otel')).stdout) as {
      resourceLogs: { scopeLogs: { logRecords: { severityText: string }[] }[] }[]
    }
    const logs = otel.resourceLogs[0]?.scopeLogs[0]?.logRecords ?? []
    expect(
      logs.map(({ severityText }) => severityText).filter((one) => one === 'WARN'),
    ).to.have.length(1)
  })

  it('of a record that is not there, or not whole, says so by its status', async () => {
    const [path = ''] = record.files
    writeFileSync(path, readFileSync(path, 'utf8').replace('evil', 'good'))
    expect((await audit('export')).status).to.equal(1)
    expect((await audit('summary')).stdout).to.include('record NOT WHOLE')
    const nowhere = await runCli('agent', ['audit', 'verify', '--directory', '/nonexistent'])
    expect(nowhere.status).to.equal(66)
    expect(execFileSync('python3', [VERIFIER, '--help'], { encoding: 'utf8' })).to.include(
      '--anchor',
    )
  })
})
