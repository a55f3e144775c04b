import { expect } from 'chai'
import { DataType } from '../../src/gen/postern/v1/data_pb.js'
import { eventually } from '../support/eventually.ts'
import { ObjectStack, sumOf } from '../support/objects/object-stack.ts'
import { s3Target, type S3Target } from '../support/objects/s3-target.ts'
import { Stack } from '../support/stack.ts'

const BODY = Buffer.from('an object of a task')
/** So that the suite can run again against a server that keeps objects. */
const RUN = `runs/${String(Date.now())}`

/** Runs against a stand-in, or against any server that POSTERN_S3_URL names (test/support/objects/s3-target.ts). */
describe('presigned URLs of S3', function () {
  let at: ObjectStack
  let target: S3Target

  beforeEach(async () => {
    const stack = await Stack.start()
    target = await s3Target(stack.pki)
    at = await ObjectStack.start(stack, target.caFile, target.row)
  })
  afterEach(() => {
    at.stack.stop()
    target.stop()
  })

  const reading = async (key: string): Promise<{ status: number; body: Buffer }> =>
    await at.send(await at.download(key))

  it('write and read one object, whose bytes do not pass the tunnel', async () => {
    const body = Buffer.alloc(2_000_000, 'x')
    const up = await at.upload(`${RUN}/input`, body)
    expect(await at.status(up, body)).to.equal(200)
    const read = await reading(`${RUN}/input`)
    expect([read.status, read.body.equals(body)]).to.deep.equal([200, true])
    const { byType } = at.agent.report().guard
    const { bytesIn, bytesOut } = byType['presigned-url']
    expect(bytesIn + bytesOut).to.be.below(4096)
    expect(byType['task-io']).to.include({ calls: 0, bytesIn: 0, bytesOut: 0 })
  })

  it('bind verb, object, time, length, checksum, type, and that nothing is there yet', async () => {
    const key = `${RUN}/a`
    const put = await at.upload(key, BODY)
    const { headers } = put
    const refused = async (
      what: string,
      changes: Parameters<ObjectStack['send']>[2],
      body = BODY,
    ): Promise<void> => {
      expect(await at.status(put, body, changes), what).to.be.within(400, 499)
    }
    await refused('to read', { method: 'GET' })
    await refused('to delete', { method: 'DELETE' })
    await refused('another object', { url: put.url.replace(key, `${key}b`) })
    await refused('longer', { url: put.url.replace('X-Amz-Expires=900', 'X-Amz-Expires=9000') })
    const longer = Buffer.from(`${BODY.toString()}!`)
    const itsLength = { headers: { ...headers, 'content-length': String(longer.length) } }
    await refused('another length', itsLength, longer)
    await refused('other bytes', {}, Buffer.from('an object of nobody'))
    for (const name of Object.keys(headers)) {
      const others = Object.fromEntries(Object.entries(headers).filter(([one]) => one !== name))
      if (name !== 'content-length') await refused(`without ${name}`, { headers: others })
      if (name !== 'content-length')
        await refused(`another ${name}`, { headers: { ...headers, [name]: 'x' } })
    }
    expect((await reading(key)).status, 'nothing of it is there').to.equal(404)
    expect(await at.status(put, BODY)).to.equal(200)
    expect(await at.status(put, BODY), 'it is there already').to.equal(412)
    const get = await at.download(key, 2)
    for (const method of ['HEAD', 'PUT', 'DELETE'])
      expect(await at.status(get, undefined, { method }), method).to.be.within(400, 499)
    expect((await at.send(get)).body.equals(BODY)).to.equal(true)
    await eventually(async () => (await at.status(get)) === 403, 'it has expired')
  })

  it('take each checksum that S3 knows', async () => {
    for (const algorithm of ['sha256', 'md5', 'crc32c'] as const) {
      const up = await at.upload(`${RUN}/${algorithm}`, BODY, { checksum: sumOf(algorithm, BODY) })
      expect(await at.status(up, Buffer.from('an object of nobody')), algorithm).to.equal(400)
      expect(await at.status(up, BODY), algorithm).to.equal(200)
    }
  })

  it('write an object in parts, each with its own length and checksum', async () => {
    const named = { store: 'artifacts', dataType: DataType.TASK_IO, key: `${RUN}/large` }
    // All parts but the last have 5 MiB at least.
    const bodies = [Buffer.alloc(5 * 1024 * 1024, 'a'), Buffer.alloc(500, 'b')]
    const parts = bodies.map((body, i) => ({
      number: i + 1,
      length: BigInt(body.length),
      checksum: sumOf('sha256', body),
    }))
    const first = await at.objects.createUploadUrl({ ...named, parts: parts.slice(0, 1) })
    const { uploadId } = first
    const second = await at.objects.createUploadUrl({ ...named, parts: parts.slice(1), uploadId })
    expect(second.uploadId).to.equal(uploadId)
    const [one, two] = [first.urls[0]!, second.urls[0]!]
    const shorter = { headers: { ...one.headers, 'content-length': '500' } }
    expect(await at.status(one, bodies[1], shorter), 'fewer bytes').to.be.within(400, 499)
    expect(await at.status(two, Buffer.alloc(500, 'z')), 'other bytes').to.be.within(400, 499)
    const etags = [await at.send(one, bodies[0]), await at.send(two, bodies[1])]
    expect(etags.map(({ status }) => status)).to.deep.equal([200, 200])
    const written = parts.map(({ number, checksum }, i) => ({
      ...{ number, checksum, etag: etags[i]!.etag },
    }))
    const failure = async (more: object): Promise<string> =>
      await at.objects.completeUpload({ ...named, uploadId, parts: written, ...more }).then(
        () => 'it passed',
        (error: unknown) => (error as Error).message,
      )
    const bad = written.map((part) => ({ ...part, etag: '"00000000000000000000000000000000"' }))
    expect(await failure({ parts: bad })).to.include('BACKEND_REFUSED')
    expect(await failure({ parts: written.toReversed() })).to.equal('it passed')
    expect((await reading(named.key)).body.equals(Buffer.concat(bodies))).to.equal(true)
    const again = await at.objects.createUploadUrl({ ...named, parts })
    for (const [i, body] of bodies.entries()) await at.send(again.urls[i]!, body)
    // What is there is not replaced by parts either.
    expect(await failure({ uploadId: again.uploadId })).to.include('BACKEND_REFUSED')
    await at.objects.abortUpload({ ...named, uploadId: again.uploadId })
    expect(await failure({ uploadId: again.uploadId })).to.include('BACKEND_REFUSED')
  })
})
