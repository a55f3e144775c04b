import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { TailResponse_Marker_Kind as Kind } from '../../src/gen/postern/dataplane/v1/logs_pb.js'
import { eventually } from '../support/eventually.ts'
import { LogStack, secretFile } from '../support/logs/log-stack.ts'
import { PodLogs } from '../support/logs/pod-logs.ts'
import { GATEWAY } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `line ${String(from + i)}`)

describe('logs of containers', () => {
  let stack: Stack
  let pod: PodLogs
  let at: LogStack
  const labels = { project: 'billing', run: 'r1' }
  beforeEach(async () => {
    stack = await Stack.start()
    pod = new PodLogs(await stack.pki.issue(GATEWAY))
    const row = {
      ...{ type: 'kubernetes', url: await pod.start(), caFile: stack.pki.bundleFile },
      tokenFile: secretFile(stack, 'token', 'of-the-pod'),
      ...{ namespace: 'team-{project}', pod: 'train-{run}', container: 'main' },
    }
    at = await LogStack.start(stack, row, labels)
  })
  afterEach(() => {
    stack.stop()
    pod.stop()
  })
  const time = (i: number): string => `2026-01-01T00:00:00.${String(i).padStart(9, '0')}Z`
  const add = (from: number, to: number, atTime = time): void => {
    for (let i = from; i <= to; i++) pod.add(atTime(i), `line ${String(i)}`)
  }

  it('are told from their beginning, their last lines and a cursor, each line once', async () => {
    add(1, 500)
    expect((await at.read()).lines).to.deep.equal(numbers(1, 500))
    expect((await at.read({ last: 3 })).lines).to.deep.equal(numbers(498, 500))
    const first = await at.read({ limit: 200n })
    const rest = await at.read({ cursor: first.cursor })
    expect([...first.lines, ...rest.lines]).to.deep.equal(numbers(1, 500))
    expect(rest.markers).to.deep.equal([])
  })

  it('are told once each where runtimes give many the same time', async () => {
    add(1, 9, () => time(7))
    pod.add(time(7), 'line 9')
    const first = await at.read({ limit: 4n })
    const rest = await at.read({ cursor: first.cursor })
    expect([...first.lines, ...rest.lines]).to.deep.equal([...numbers(1, 9), 'line 9'])
  })

  it('are followed over connections that end, until the container has', async () => {
    add(1, 3)
    let count = 3
    const told = await at.read({ follow: true }, Infinity, (all) => {
      if (all !== count) return
      count += 3
      if (all === 9) pod.isTerminated = true
      else if (all === 6) {
        pod.cut()
        add(7, 9)
      } else add(4, 6)
      if (all === 9) pod.cut()
    })
    expect(told.lines).to.deep.equal(numbers(1, 9))
    expect(told.markers).to.deep.equal([])
  })

  it('say so where what was told last is rotated away', async () => {
    add(1, 5)
    const { cursor } = await at.read()
    pod.lines = []
    add(9, 10)
    const rest = await at.read({ cursor })
    expect(rest.markers).to.deep.equal([Kind.GAP])
    expect(rest.lines).to.deep.equal(numbers(9, 10))
  })

  it('leave lines out, counted, for a caller who is slow and asks for that', async () => {
    for (let i = 0; i < 5000; i++) pod.add(time(i), `${String(i)} ${'x'.repeat(1000)}`)
    pod.isTerminated = true
    const told: { lines: number; dropped: number } = { lines: 0, dropped: 0 }
    for await (const { lines, marker } of at.logs.tail({
      ...{ source: 'main', labels, drop: true, follow: true },
    })) {
      told.lines += lines.reduce((sum, { text }) => sum + text.length + 1, 0)
      if (marker?.kind === Kind.DROPPED) told.dropped += Number(marker.bytes)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(told.dropped).to.be.above(0)
    expect(told.lines + told.dropped).to.equal(
      Array.from({ length: 5000 }, (_, i) => String(i).length + 1002).reduce((a, b) => a + b, 0),
    )
  })

  it('are none of a pod that is not there, or may not be read', async () => {
    expect(await at.reason({ labels: { project: 'billing', run: 'r2' } })).to.include('LOG_UNKNOWN')
    expect(await at.reason({ labels: { project: 'a/b', run: 'r1' } })).to.include('LOG_UNKNOWN')
    secretFile(stack, 'token', 'of-another')
    expect(await at.reason({})).to.include('CREDENTIALS_MISSING')
  })

  it('ends its connection to the API server with the call', async () => {
    add(1, 3)
    await at.read({ follow: true }, 3)
    await eventually(() => pod.followers === 0, 'nobody follows any more')
  })
})

/** Written by systemd's own writer, read by its own reader. */
describe('logs of the journal', () => {
  let stack: Stack
  let at: LogStack
  let directory: string
  beforeEach(async () => {
    stack = await Stack.start()
    directory = join(stack.pki.folder, 'journal')
    mkdirSync(directory)
    const match = { _SYSTEMD_UNIT: 'task-{run}.service' }
    at = await LogStack.start(stack, { type: 'journald', directory, match }, { run: 'r1' })
  })
  afterEach(() => {
    stack.stop()
  })
  const write = (
    from: number,
    to: number,
    file = 'a',
    text = (i: number) => `line ${String(i)}`,
  ) => {
    const entries: Buffer[] = []
    for (let i = from; i <= to; i++)
      for (const unit of ['task-r1', 'task-r2']) {
        const us = Date.UTC(2026, 0, 1) * 1000 + i
        const message = Buffer.from(unit === 'task-r1' ? text(i) : 'of somebody else')
        const length = Buffer.alloc(8)
        length.writeBigUInt64LE(BigInt(message.length))
        const head = [
          ...[`__REALTIME_TIMESTAMP=${String(us)}`, `__MONOTONIC_TIMESTAMP=${String(i)}`],
          ...['_BOOT_ID=11111111111111111111111111111111', `_SYSTEMD_UNIT=${unit}.service`],
        ]
        entries.push(
          Buffer.from(`${head.join('\n')}\nMESSAGE\n`),
          length,
          message,
          Buffer.from('\n\n'),
        )
      }
    const output = join(directory, `${file}.journal`)
    const args = ['--output', output, '-']
    const { status, stderr } = spawnSync('/lib/systemd/systemd-journal-remote', args, {
      input: Buffer.concat(entries),
    })
    expect(status, stderr.toString()).to.equal(0)
  }

  it('are told from their beginning, their last lines and a cursor', async () => {
    write(1, 300)
    const all = await at.read()
    expect(all.lines).to.deep.equal(numbers(1, 300))
    expect((await at.read({ last: 3 })).lines).to.deep.equal(numbers(298, 300))
    const first = await at.read({ limit: 100n })
    const rest = await at.read({ cursor: first.cursor })
    expect([...first.lines, ...rest.lines]).to.deep.equal(numbers(1, 300))
    expect(rest.markers).to.deep.equal([])
    expect((await at.read({ cursor: all.cursor })).lines).to.deep.equal([])
  })

  it('are followed', async () => {
    write(1, 3)
    let hasWritten = false
    const told = await at.read({ follow: true }, 6, () => {
      if (hasWritten) return
      hasWritten = true
      write(4, 6, 'b')
    })
    expect(told.lines).to.deep.equal(numbers(1, 6))
  })

  it('hold what is no text, and are cut at their bound', async () => {
    write(1, 1, 'a', () => '\u001b[31mred\nand more')
    write(2, 2, 'b', () => 'x'.repeat(200_000))
    const { lines } = await at.read()
    expect(lines[0]).to.equal('\u001b[31mred\nand more')
    expect(lines[1]?.length).to.equal(16_384)
  })

  it('are refused with a cursor that would be an option, and say where entries are gone', async () => {
    write(1, 3)
    const { cursor } = await at.read({ limit: 2n })
    const fields = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const with_ = (place: string): string =>
      Buffer.from(JSON.stringify([fields[0], place, fields[2]])).toString('base64url')
    for (const odd of ['', '--file=/etc/shadow', `${String(fields[1])} x`])
      expect(await at.reason({ cursor: with_(odd) })).to.include('CURSOR_INVALID')
    const gone = String(fields[1])
      .replace(/i=[0-9a-f]+/, 'i=fffff')
      .replace(/s=[0-9a-f]{32}/, `s=${'0'.repeat(32)}`)
      .replace(/t=[0-9a-f]+/, 't=1')
    const told = await at.read({ cursor: with_(gone) })
    expect(told.markers).to.deep.equal([Kind.GAP])
  })
})
