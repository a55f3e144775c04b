import { expect } from 'chai'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { accessOf } from '../../src/audit/access-log.ts'
import { handedOut } from '../../src/audit/handed-out.ts'
import { Permit } from '../../src/contract/call-guard.ts'
import { ask } from '../guard/asks.ts'
import { runCli } from '../support/run-cli.ts'
import { TestRecord } from './record.ts'

const keyOf = (key: string): string => createHash('sha256').update(`artifacts/${key}`).digest('hex')

/** As docs.aws.amazon.com shows one, "Amazon S3 server access log format". */
function s3Line(
  key: string,
  method = 'GET',
  time = '01/Jan/2026:00:05:00 +0000',
  status = 200,
  auth = 'QueryString',
): string {
  return `79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be artifacts [${time}] 192.0.2.3 79a59df900b949e55d96a1e698fbaced 3E57427F3EXAMPLE REST.${method}.OBJECT ${key} "${method} /artifacts/${key}?X-Amz-Signature=x HTTP/1.1" ${String(status)} - 113 - 7 - "-" "S3Console/0.4 \\"x\\"" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 ${auth} artifacts.s3.us-west-1.amazonaws.com TLSV1.2 - -`
}

describe('URLs that were handed out', () => {
  let record: TestRecord
  beforeEach(() => {
    record = new TestRecord()
  })
  afterEach(() => {
    record.remove()
  })

  const mint = (
    key: string,
    verb: 'GET' | 'PUT',
    seconds: number,
    count = 1,
    store = 'artifacts',
  ): void => {
    const permit = record.guard.decide(ask())
    if (!Permit.is(permit)) throw new Error(permit.text)
    const expiresAtMs = record.clock.wallMs() + seconds * 1000
    permit.minted({ store, backend: 's3', keyHash: keyOf(key), verb, expiresAtMs, count })
    permit.ended('OK')
    record.writer.flush()
  }

  it('are listed until they end', async () => {
    mint('a', 'GET', 60)
    mint('b', 'PUT', 600, 5)
    mint('c', 'GET', 300, 1, 'reports')
    record.calls(3)
    const nowMs = record.clock.wallMs()
    expect(await handedOut(record.directory, nowMs + 61_000)).to.deep.equal([
      { store: 'artifacts', backend: 's3', count: 5, untilMs: Date.UTC(2026, 0, 1, 0, 10) },
      { store: 'reports', backend: 's3', count: 1, untilMs: Date.UTC(2026, 0, 1, 0, 5) },
    ])
    expect(await handedOut(record.directory, nowMs + 601_000)).to.deep.equal([])
    expect(await handedOut(join(record.folder, 'nowhere'), nowMs)).to.deep.equal([])
  })

  it('explain each use that the store has logged, or the command says which they do not', async () => {
    mint('runs/1/a b', 'GET', 900)
    mint('runs/1/up', 'PUT', 900)
    mint('runs/1/never', 'GET', 900)
    record.writer.stop()
    const log = join(record.folder, 'access.log')
    const good = [
      s3Line('runs/1/a%2520b'),
      s3Line('runs/1/up', 'PUT'),
      s3Line('runs/1/other', 'GET', '01/Jan/2026:00:05:00 +0000', 200, 'AuthHeader'),
      s3Line('runs/1/other', 'GET', '01/Jan/2026:00:05:00 +0000', 403),
      'nonsense [ "',
      '',
    ]
    const run = async () =>
      await runCli('agent', [
        'audit',
        'reconcile',
        '--directory',
        record.directory,
        '--access-log',
        log,
        '--json',
      ])
    writeFileSync(log, good.join('\n'))
    const fine = await run()
    expect([fine.status, fine.stderr]).to.deep.equal([0, ''])
    expect(JSON.parse(fine.stdout)).to.deep.equal({
      ...{ recordWhole: true, minted: 3, used: 2, accesses: 3, refused: 1, unexplained: [] },
    })
    for (const bad of [
      s3Line('runs/1/other'),
      s3Line('runs/1/up'),
      s3Line('runs/1/a%2520b', 'GET', '01/Jan/2026:00:25:00 +0000'),
      s3Line('runs/1/a%2520b', 'GET', '31/Dec/2025:23:50:00 +0000'),
    ]) {
      writeFileSync(log, [...good, bad].join('\n'))
      const found = await run()
      expect([found.status, found.stdout.includes('"keyHash"')], bad).to.deep.equal([1, true])
    }
    const [path = ''] = record.files
    writeFileSync(log, good.join('\n'))
    writeFileSync(path, readFileSync(path, 'utf8').replace('"GET"', '"PUT"'))
    expect(JSON.parse((await run()).stdout)).to.include({ recordWhole: false })
    const wrong = await runCli('agent', [
      'audit',
      'reconcile',
      '--directory',
      record.directory,
      '--form',
      'x',
    ])
    expect([wrong.status, wrong.stderr.includes('must be one of s3, gcs, azure')]).to.deep.equal([
      64,
      true,
    ])
  })

  it('are found in the logs of GCS and Azure, too', () => {
    const gcs =
      '"1767225900000000","192.0.2.3","1","","GET","/artifacts/runs/1/a%20b?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=00","200","0","113","7000","storage.googleapis.com","","curl","id","GET_Object","artifacts","runs/1/a b"'
    const azure = JSON.stringify({
      ...{ time: '2026-01-01T00:05:00.1234567Z', operationName: 'GetBlob', statusCode: 200 },
      uri: 'https://acme.blob.core.windows.net:443/artifacts/runs/1/a%20b?sp=r&sig=XXXXX',
      identity: { type: 'SAS' },
    })
    const wanted = { keyHash: keyOf('runs/1/a b'), verb: 'GET', isDone: true }
    expect(accessOf(gcs, 'gcs')).to.deep.include(wanted)
    expect(accessOf(azure, 'azure')).to.deep.include(wanted)
    expect(accessOf(gcs.replace('X-Goog-Signature', 'x'), 'gcs')).to.equal(undefined)
    expect(accessOf(azure.replace('SAS', 'OAuth'), 'azure')).to.equal(undefined)
    for (const form of ['s3', 'gcs', 'azure'] as const)
      for (const line of ['', '{', '"', '[]', 'null', 'a'.repeat(10_000)])
        expect(accessOf(line, form)).to.equal(undefined)
  })
})
