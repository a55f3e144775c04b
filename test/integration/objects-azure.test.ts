import { expect } from 'chai'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RpcError } from '../../src/client.ts'
import { DataType } from '../../src/gen/postern/v1/data_pb.js'
import { ACCOUNT, Azurite, IdentityEndpoint } from '../support/objects/azurite.ts'
import { ObjectStack, sumOf } from '../support/objects/object-stack.ts'
import { GATEWAY } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

const BODY = Buffer.from('an object of a task')
/** Of every Azurite: learn.microsoft.com, "Well-known storage account and key". */
const KNOWN_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

describe('presigned URLs of Azure Blob', function () {
  let stack: Stack
  let azurite: Azurite
  let identity: IdentityEndpoint
  let at: ObjectStack

  before(async () => {
    stack = await Stack.start()
    azurite = await Azurite.start(await stack.pki.issue(GATEWAY))
    identity = await IdentityEndpoint.shared()
    const key = new StorageSharedKeyCredential(ACCOUNT, KNOWN_KEY)
    const tls = { tlsOptions: { ca: readFileSync(stack.pki.bundleFile, 'utf8') } }
    const options = { retryOptions: { maxTries: 1 }, ...tls }
    await new BlobServiceClient(azurite.endpoint, key, options).createContainer('artifacts')
  })
  after(() => {
    stack.stop()
    azurite.stop()
  })
  afterEach(() => {
    at.agent.stop()
  })

  const start = async (row: object = {}): Promise<void> => {
    const { endpoint } = azurite
    at = await ObjectStack.start(stack, stack.pki.bundleFile, { type: 'azure', endpoint, ...row })
  }
  const md5 = (body: Buffer) => ({ checksum: sumOf('md5', body) })

  it('are signed by a key that the account delegates to the machine, or by its own', async () => {
    const credentialsFile = join(stack.pki.folder, 'azure-key')
    writeFileSync(credentialsFile, `${KNOWN_KEY}\n`, { mode: 0o600 })
    for (const [row, name] of [
      [{}, 'delegated'],
      [{ credentialsFile }, 'own'],
    ] as const) {
      await start(row)
      const up = await at.upload(`runs/${name}`, BODY, md5(BODY))
      expect(up.url.includes('skoid='), 'a user delegation').to.equal(name === 'delegated')
      expect(new URL(up.url).searchParams.get('spr')).to.equal('https')
      expect(await at.status(up, BODY)).to.equal(201)
      const read = await at.send(await at.download(`runs/${name}`))
      expect([read.status, read.body.equals(BODY)]).to.deep.equal([200, true])
      at.agent.stop()
    }
    const asked = identity.asked.filter(({ resource }) => resource.includes('storage'))
    expect(asked).to.deep.equal([{ resource: 'https://storage.azure.com', isOurs: true }])
  })

  it('bind permission, object and time; checksums are taken where they are sent', async () => {
    await start()
    const put = await at.upload('runs/1/a', BODY, md5(BODY))
    expect(await at.status(put, BODY, { method: 'DELETE' })).to.equal(403)
    expect(await at.status(put, undefined, { method: 'GET' })).to.equal(403)
    expect(await at.status(put, BODY, { url: put.url.replace('runs/1/a', 'runs/1/b') })).to.equal(
      403,
    )
    expect(
      await at.status(put, BODY, {
        url: put.url.replace(/se=[^&]+/, 'se=2999-01-01T00%3A00%3A00Z'),
      }),
    ).to.equal(403)
    expect(await at.status(put, Buffer.from('an object of nobody'))).to.equal(400)
    expect(await at.status(put, BODY)).to.equal(201)
    // Permission to create is none to replace.
    expect(await at.status(put, BODY)).to.be.within(403, 409)
    const get = await at.download('runs/1/a', 2)
    expect(await at.status(get, undefined, { method: 'HEAD' })).to.equal(200)
    const asBlob = { 'x-ms-blob-type': 'BlockBlob' }
    expect(await at.status(get, BODY, { method: 'PUT', headers: asBlob })).to.equal(403)
    const left = get.expiresAt!.seconds * 1000n - BigInt(Date.now())
    await new Promise((resolve) => setTimeout(resolve, Number(left) + 1500))
    expect(await at.status(get)).to.equal(403)
  })

  it('write an object in parts where it may replace one, and not otherwise', async () => {
    const named = { store: 'artifacts', dataType: DataType.TASK_IO, key: 'runs/2/large' }
    const bodies = [Buffer.alloc(1000, 'a'), Buffer.alloc(500, 'b')]
    const parts = bodies.map((body, i) => ({
      number: i + 1,
      length: BigInt(body.length),
      ...md5(body),
    }))
    await start()
    const refused = await at.objects
      .createUploadUrl({ ...named, parts })
      .catch((error: unknown) => error)
    expect((refused as RpcError).rawMessage).to.include('overwrite: allowed')
    at.agent.stop()
    await start({ overwrite: 'allowed' })
    const { urls, uploadId } = await at.objects.createUploadUrl({ ...named, parts })
    expect(await at.status(urls[0]!, Buffer.alloc(1000, 'z'))).to.equal(400)
    for (const [i, body] of bodies.entries()) expect(await at.status(urls[i]!, body)).to.equal(201)
    const written = parts.map(({ number }) => ({ number }))
    await at.objects.completeUpload({
      ...named,
      uploadId,
      parts: written,
      contentType: 'text/plain',
    })
    const read = await at.send(await at.download('runs/2/large'))
    expect(read.body.equals(Buffer.concat(bodies))).to.equal(true)
    await at.objects.abortUpload({ ...named, uploadId })
    const lost = await at.objects
      .completeUpload({ ...named, uploadId: 'ab', parts: written })
      .catch((error: unknown) => error)
    expect((lost as RpcError).rawMessage).to.include('BACKEND_REFUSED')
  })
})
