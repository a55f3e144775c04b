import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { publicKeyPath } from '../../src/audit/audit-key.ts'
import { settledEnd } from '../../src/audit/read-record.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { runCli } from '../support/run-cli.ts'
import { TestRecord } from './record.ts'

const VERIFIER = fileURLToPath(new URL('../../tools/verify_record.py', import.meta.url))
const LOOK_MS = 25

describe('a record that is being written', () => {
  let record: TestRecord
  let path: string
  beforeEach(() => {
    record = new TestRecord()
    record.calls(3)
    ;[path = ''] = record.files
  })
  afterEach(() => {
    record.remove()
  })

  /** Takes back the end of what was written, as a reader sees a write that is under way. */
  const cut = (bytes: number): Buffer => {
    const whole = readFileSync(path)
    truncateSync(path, whole.length - bytes)
    return whole.subarray(whole.length - bytes)
  }
  /** What `settledEnd` comes to, and the looks that it has taken. */
  const looking = async (
    after: (looks: number) => void,
  ): Promise<{ offset: number | undefined; looks: number }> => {
    const clock = new FakeClock()
    let looks = 0
    let isSettled = false
    const settled = settledEnd(record.directory, clock).finally(() => {
      isSettled = true
    })
    for (; !(isSettled as boolean) && looks < 100; looks++) {
      after(looks)
      clock.advance(LOOK_MS)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return { offset: (await settled)?.offset, looks }
  }

  it('is read to where its writer was between two batches', async () => {
    const whole = statSync(path).size
    expect((await looking(() => undefined)).offset).to.equal(whole)
    // Within a line, and at the end of one that ends no batch.
    for (const bytes of [1, 100, 300]) {
      const rest = cut(bytes)
      const { offset } = await looking((looks) => {
        if (looks === 2) appendFileSync(path, rest)
      })
      expect(offset, String(bytes)).to.equal(whole)
    }
    expect((await record.verify()).findings).to.deep.equal([])
  })

  it('is not waited for longer than half a second', async () => {
    cut(100)
    const { offset, looks } = await looking(() => undefined)
    expect(offset).to.equal(statSync(path).size)
    expect(looks * LOOK_MS).to.be.within(400, 600)
  })

  it('is verified whole while batches come, by both verifiers', async () => {
    const writing = setInterval(() => {
      record.calls(40)
    }, 1)
    try {
      for (let i = 0; i < 5; i++) {
        const { status, stdout } = await runCli('agent', [
          ...['audit', 'verify', '--directory', record.directory],
        ])
        expect(status, stdout).to.equal(0)
        const key = publicKeyPath(record.directory)
        const python = spawn('python3', [VERIFIER, record.directory, '--key', key])
        const [code] = (await once(python, 'exit')) as [number]
        expect(code).to.equal(0)
      }
    } finally {
      clearInterval(writing)
    }
  })
})
