import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { publicKeyPath, publicKeyPaths, readPublicKey } from '../../src/audit/audit-key.ts'
import { makeNextKey } from '../../src/audit/key-change.ts'
import { readRecord } from '../../src/audit/read-record.ts'
import { RecordVerifier, type Verified } from '../../src/audit/verify-record.ts'
import { Daemons } from '../support/daemons.ts'
import { runCli } from '../support/run-cli.ts'
import { TestRecord } from './record.ts'

describe('a change of the audit key', () => {
  let record: TestRecord
  /** The public key of the beginning, as a reviewer has it. */
  let first: string
  beforeEach(() => {
    record = new TestRecord()
    record.calls(3)
    record.writer.flush()
    first = join(record.folder, 'first.pem')
    writeFileSync(first, readFileSync(publicKeyPath(record.directory)))
  })
  afterEach(() => {
    record.remove()
  })
  const change = (): string => {
    const id = makeNextKey(record.directory)
    record.clock.advance(1001)
    record.writer.flush()
    return id
  }
  const more = (): void => {
    record.calls(2)
    record.clock.advance(60_001)
    record.writer.flush()
  }
  const verify = async (keys: readonly string[]): Promise<Verified> => {
    const verifier = new RecordVerifier({ keys: keys.map(readPublicKey), anchors: record.anchors })
    for await (const line of readRecord(record.directory)) verifier.add(line)
    return verifier.end()
  }
  const python = (keys: readonly string[]): number | null =>
    spawnSync('python3', [
      ...['tools/verify_record.py', record.directory],
      ...keys.flatMap((key) => ['--key', key]),
    ]).status

  it('is followed by whoever vouches for the first, over restarts, by both verifiers', async () => {
    const second = change()
    more()
    record.reopen()
    more()
    const third = change()
    more()
    const found = await verify([first])
    expect(found.findings).to.deep.equal([])
    expect(found.keys.slice(1)).to.deep.equal([second, third])
    expect(found.anchoredTo).to.equal(found.last)
    expect((await verify(publicKeyPaths(record.directory))).findings).to.deep.equal([])
    expect(python([first])).to.equal(0)
    expect(python(publicKeyPaths(record.directory))).to.equal(0)
    expect(statSync(join(record.directory, 'audit-key.pem')).mode & 0o777).to.equal(0o600)
  })

  it('by a key that did not sign it is found by both verifiers, as is each altered field of it', async () => {
    change()
    more()
    const [path = ''] = record.files
    const text = readFileSync(path, 'utf8')
    const [line = ''] = text.split('\n').filter((one) => one.includes('"event":"key"'))
    for (const name of ['key', 'by', 'signature'] as const) {
      const value = (JSON.parse(line) as Record<string, string>)[name] ?? ''
      const altered = `${value.startsWith('A') ? 'B' : 'A'}${value.slice(1)}`
      writeFileSync(path, text.replace(line, line.replace(value, altered)))
      const { findings } = await verify([first])
      expect(
        findings.some(({ text: said }) => said.includes('signed by no key')),
        name,
      ).to.equal(true)
      expect(python([first]), name).to.equal(1)
    }
  })

  it('goes on where it was cut off between its steps', async () => {
    makeNextKey(record.directory)
    const next = readFileSync(join(record.directory, 'audit-key.next.pem'))
    record.clock.advance(1001)
    record.writer.flush()
    // As a kill leaves it in front of the last step: the line is there, the key still waits.
    record.reopen()
    writeFileSync(join(record.directory, 'audit-key.next.pem'), next, { mode: 0o600 })
    record.clock.advance(1001)
    more()
    expect((await verify([first])).findings).to.deep.equal([])
    expect(python([first])).to.equal(0)
  })

  it('does not come by a file that is none, and the record goes on', async () => {
    writeFileSync(join(record.directory, 'audit-key.next.pem'), 'odd', { mode: 0o600 })
    record.clock.advance(1001)
    more()
    expect(existsSync(join(record.directory, 'audit-key.next.pem'))).to.equal(false)
    expect(readdirSync(record.directory)).to.include('audit-key.next.pem.bad')
    expect(record.writer.isWritable).to.equal(true)
    expect((await verify([first])).findings).to.deep.equal([])
  })

  it('is made by a command, which says whether it is in force', async () => {
    const { status, stdout } = await runCli('agent', [
      ...['audit', 'rotate-key', '--directory', record.directory, '--json'],
    ])
    expect(status).to.equal(0)
    expect(JSON.parse(stdout)).to.deep.include({ inForce: false })
    record.clock.advance(1001)
    more()
    const verified = await runCli('agent', ['audit', 'verify', '--directory', record.directory])
    expect([verified.status, verified.stdout.includes('whole')]).to.deep.equal([0, true])
  })

  it('is taken over by a daemon that runs, whose record stays whole', async () => {
    const daemons = await Daemons.create()
    try {
      await daemons.startGateway()
      const directory = join(daemons.pki.folder, 'kept')
      await daemons.startAgent({ audit: { directory } })
      const before = readFileSync(publicKeyPath(directory), 'utf8')
      const told = await daemons.run('agent', 'audit', 'rotate-key', '--directory', directory)
      expect([told.status, told.text]).to.satisfy(
        () => told.status === 0 && told.text.includes('in force     yes'),
        told.text,
      )
      expect(readFileSync(publicKeyPath(directory), 'utf8')).not.to.equal(before)
      const { status, text } = await daemons.run(
        'agent',
        'audit',
        'verify',
        '--directory',
        directory,
      )
      expect(status, text).to.equal(0)
    } finally {
      daemons.stop()
    }
  })
})
