import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { DataType } from '../../src/gen/postern/v1/data_pb.js'
import { ObjectStack, sumOf } from '../support/objects/object-stack.ts'
import { S3Server } from '../support/objects/object-server.ts'
import { GATEWAY } from '../support/pki.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'

const BODY = Buffer.from('an object of a task')

describe('presigned URLs of S3, beside what the store sees', function () {
  let at: ObjectStack
  let server: S3Server
  let shared: Record<string, unknown>

  beforeEach(async () => {
    const stack = await Stack.start()
    server = new S3Server(await stack.pki.issue(GATEWAY))
    const credentialsFile = join(stack.pki.folder, 'aws')
    const secret = 'aws_access_key_id=AKIDTEST\naws_secret_access_key=secret-of-tests\n'
    writeFileSync(credentialsFile, `[default]\n${secret}`, { mode: 0o600 })
    const endpoint = await server.start()
    shared = { type: 's3', region: 'eu-west-1', endpoint, credentialsFile, encryption: 'AES256' }
    at = await ObjectStack.start(stack, stack.pki.bundleFile, shared)
  })
  afterEach(() => {
    at.stack.stop()
    server.stop()
  })

  const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(() => 'it passed', reasonOfError)

  it('bind the encryption that the customer wants, and go with temporary credentials', async () => {
    const up = await at.upload('runs/1/a', BODY)
    for (const encryption of ['', 'aws:kms']) {
      const { 'x-amz-server-side-encryption': name = '', ...others } = up.headers
      expect(name).to.equal('AES256')
      const changed =
        encryption === '' ? others : { ...others, 'x-amz-server-side-encryption': encryption }
      expect(await at.status(up, BODY, { headers: changed })).to.equal(403)
    }
    const more = { ...up.headers, 'x-amz-acl': 'public-read' }
    expect(await at.status(up, BODY, { headers: more }), 'one header more').to.equal(403)
    expect(await at.status(up, BODY)).to.equal(200)
    expect(server.objects.get('runs/1/a')?.headers).to.include({
      'content-type': 'text/plain',
      'x-amz-server-side-encryption': 'AES256',
    })
    server.keys = { ASIATEST: { secret: 'another', token: 'of-a-session/+=' } }
    const text =
      '[default]\naws_access_key_id=ASIATEST\naws_secret_access_key=another\naws_session_token=of-a-session/+=\n'
    writeFileSync(String(shared.credentialsFile), text)
    at.agent.stop()
    at = await ObjectStack.start(at.stack, at.caFile, shared)
    expect(await at.status(await at.download('runs/1/a'))).to.equal(200)
  })

  it('are of configured stores, types, prefixes, lives and sizes only', async () => {
    const named = { store: 'artifacts', dataType: DataType.TASK_IO, key: 'runs/x' }
    const url = (more: object): Promise<string> =>
      reasonOf(at.objects.createDownloadUrl({ ...named, ...more }))
    expect(await url({ store: 'another' })).to.include('STORE_UNKNOWN')
    expect(await url({ dataType: DataType.CODE_BUNDLE })).to.include('STORE_UNKNOWN')
    for (const dataType of [DataType.SECRET, DataType.TASK_LOG, DataType.UNSPECIFIED, 99])
      expect(await url({ dataType })).to.match(/POLICY_DENIED|MALFORMED_CALL/)
    for (const key of [
      'reports/x',
      'runs',
      'runs/',
      'runs-evil/x',
      '/runs/x',
      'runs/../secrets/x',
      'runs//x',
    ])
      expect(await url({ key }), key).to.include('OBJECT_KEY_REFUSED')
    expect(await url({ expiresSeconds: 901 })).to.include('900 seconds at most')
    const up = (more: object): Promise<string> => reasonOf(at.upload('runs/x', BODY, more))
    expect(await up({ checksum: undefined })).to.include('checksum is missing')
    expect(
      await up({ checksum: { value: { case: 'sha256', value: new Uint8Array(5) } } }),
    ).to.include('32 bytes')
    expect(await up({ length: 6n * 1024n ** 3n })).to.include('at once at most')
    expect(await up({ contentType: 'text/html\r\nx-evil: 1' })).to.include('content_type')
    const part = { number: 1, length: 1n, checksum: sumOf('md5', BODY) }
    expect(await up({ parts: [part] })).to.include('none beside them')
    const alone = { length: 0n, checksum: undefined }
    expect(await up({ ...alone, parts: [part, part] })).to.include('stands twice')
    expect(await up({ ...alone, parts: [{ ...part, number: 0 }] })).to.include('from 1 to')
    expect(await up({ ...alone, parts: [part], uploadId: 'a b' })).to.include('upload_id')
    const complete = (parts: object[]): Promise<string> =>
      reasonOf(at.objects.completeUpload({ ...named, uploadId: 'u', parts }))
    expect(await complete([])).to.include('1 to 10000 parts')
    expect(
      await complete([
        { number: 1, etag: '</ETag><x>' },
        { number: 1, etag: 'a' },
      ]),
    ).to.include('twice')
    expect(await complete([{ number: 1, etag: 'a\nb' }])).to.include('lacks the etag')
    expect(server.requests.filter((one) => !one.startsWith('HEAD'))).to.deep.equal([])
  })

  it('leave no URL, key or words of the store in record, log or errors', async () => {
    const get = await at.download('runs/secret-key-name', 60)
    server.keys = {}
    const named = { store: 'artifacts', dataType: DataType.TASK_IO, key: 'runs/secret-key-name' }
    const failed = await reasonOf(at.objects.abortUpload({ ...named, uploadId: 'u' }))
    expect(failed).to.match(/^CREDENTIALS_MISSING: store artifacts: .*; id [0-9a-f]{8}$/)
    server.stop()
    const lost = await reasonOf(at.objects.abortUpload({ ...named, uploadId: 'u' }))
    expect(lost).to.include('BACKEND_UNREACHABLE')
    at.agent.stop()
    const folder = at.agent.report().guard.record?.directory ?? ''
    const record = readFileSync(join(folder, 'record-00000001.jsonl'), 'utf8')
    const lines = record
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const [call] = lines.filter(({ url }) => url !== undefined)
    expect(call).to.deep.include({ method: 'postern.dataplane.v1.ObjectStore/CreateDownloadUrl' })
    expect(call).to.deep.include({ type: 'presigned-url', about: 'task-io', outcome: 'OK' })
    const minted = call?.url as Record<string, unknown>
    expect(minted).to.include({ store: 'artifacts', backend: 's3', verb: 'GET', count: 1 })
    expect(minted.key).to.match(/^[0-9a-f]{64}$/)
    expect(Date.parse(String(minted.expires)) - Date.now()).to.be.within(30_000, 61_000)
    const log = JSON.stringify(at.stack.log.lines)
    const signature = /X-Amz-Signature=([0-9a-f]+)/.exec(get.url)?.[1] ?? ''
    for (const secret of ['secret-key-name', 'secret-of-tests', 'SECRET-TEXT', signature])
      expect(`${record}${log}${failed}${lost}`).to.not.include(secret)
    expect(log).to.include('InvalidAccessKeyId')
  })

  it('are refused where the policy says where data lies and the store does not lie there', async () => {
    const { stack } = at
    const regions = async (list: string): Promise<string> => {
      at.agent.stop()
      at = await ObjectStack.start(stack, at.caFile, shared, `residency: { stores: [${list}] }\n`)
      return await reasonOf(at.download('runs/x'))
    }
    expect(await regions('EU-West-1')).to.equal('it passed')
    expect(await regions('us-east-1')).to.include('REGION_REFUSED')
    server.region = 'eu-central-1'
    expect(await regions('eu-west-1')).to.include('REGION_REFUSED')
    expect(at.agent.report().services.dataPlane[0]?.region).to.equal(undefined)
  })

  it('come without a restart, and go without one', async () => {
    const { settings } = at.agent
    await at.agent.reload(() => ({ ...settings, stores: [] }))
    expect(await reasonOf(at.download('runs/x'))).to.include('METHOD_UNKNOWN')
    await at.agent.reload(() => settings)
    expect(await reasonOf(at.download('runs/x'))).to.equal('it passed')
  })
})
