import { expect } from 'chai'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RpcError } from '../../src/client.ts'
import { DataType } from '../../src/gen/postern/v1/data_pb.js'
import { GooglePlatform, IamStandIn } from '../support/objects/google-platform.ts'
import { GcsServer } from '../support/objects/object-server.ts'
import { ObjectStack, sumOf } from '../support/objects/object-stack.ts'
import { GATEWAY } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

const BODY = Buffer.from('an object of a task')
const EMAIL = 'agent@project.iam.gserviceaccount.com'

describe('presigned URLs of GCS', function () {
  let at: ObjectStack
  let server: GcsServer
  let row: Record<string, unknown>

  beforeEach(async () => {
    const stack = await Stack.start()
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    server = new GcsServer(await stack.pki.issue(GATEWAY), { email: EMAIL, key: publicKey })
    const credentialsFile = join(stack.pki.folder, 'gcs.json')
    const account = {
      ...{ type: 'service_account', client_email: EMAIL, private_key_id: 'k' },
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    }
    writeFileSync(credentialsFile, JSON.stringify(account), { mode: 0o600 })
    row = { type: 'gcs', endpoint: await server.start(), credentialsFile }
    at = await ObjectStack.start(
      stack,
      stack.pki.bundleFile,
      row,
      'residency: { stores: [europe-west1] }\n',
    )
  })
  afterEach(() => {
    at.stack.stop()
    server.stop()
  })

  const md5 = (body: Buffer) => ({ checksum: sumOf('md5', body) })

  it('bind verb, object, time, length, checksum, type, and that nothing is there yet; a reader may ask for the head', async () => {
    for (const algorithm of ['md5', 'crc32c'] as const) {
      const key = `runs/1/${algorithm}`
      const put = await at.upload(key, BODY, { checksum: sumOf(algorithm, BODY) })
      const { headers } = put
      expect(await at.status(put, undefined, { method: 'GET' })).to.equal(403)
      expect(await at.status(put, BODY, { url: put.url.replace(key, 'runs/1/b') })).to.equal(403)
      expect(
        await at.status(put, BODY, { url: put.url.replace('Expires=900', 'Expires=9000') }),
      ).to.equal(403)
      expect(await at.status(put, Buffer.from('another'))).to.equal(400)
      expect(await at.status(put, Buffer.from('an object of nobody'))).to.equal(400)
      for (const name of Object.keys(headers)) {
        const others = Object.fromEntries(Object.entries(headers).filter(([one]) => one !== name))
        expect(await at.status(put, BODY, { headers: others }), `without ${name}`).to.be.within(
          400,
          403,
        )
      }
      expect(server.objects.has(key)).to.equal(false)
      expect(await at.status(put, BODY)).to.equal(200)
      expect(await at.status(put, BODY), 'it is there already').to.equal(412)
      const get = await at.download(key, 60)
      expect(await at.status(get, undefined, { method: 'HEAD' })).to.equal(200)
      expect(await at.status(get, BODY, { method: 'PUT' })).to.equal(403)
      expect((await at.send(get)).body.equals(BODY)).to.equal(true)
      server.nowMs = () => Date.now() + 61_000
      expect(await at.status(get)).to.equal(400)
      server.nowMs = Date.now
    }
    const refused = await at.upload('runs/1/c', BODY).catch((error: unknown) => error)
    expect((refused as RpcError).rawMessage).to.include('takes no sha256, but md5, crc32c')
  })

  it('write an object in parts where it may replace one, and not otherwise', async () => {
    const named = { store: 'artifacts', dataType: DataType.TASK_IO, key: 'runs/2/large' }
    const bodies = [Buffer.alloc(1000, 'a'), Buffer.alloc(500, 'b')]
    const parts = bodies.map((body, i) => ({
      number: i + 1,
      length: BigInt(body.length),
      ...md5(body),
    }))
    const refused = await at.objects
      .createUploadUrl({ ...named, parts })
      .catch((error: unknown) => error)
    expect((refused as RpcError).rawMessage).to.include('overwrite: allowed')
    at.agent.stop()
    at = await ObjectStack.start(at.stack, at.caFile, { ...row, overwrite: 'allowed' })
    const { urls, uploadId } = await at.objects.createUploadUrl({ ...named, parts })
    expect(await at.status(urls[0]!, Buffer.alloc(1000, 'z'))).to.equal(400)
    const answers = [await at.send(urls[0]!, bodies[0]), await at.send(urls[1]!, bodies[1])]
    const written = answers.map(({ etag }, i) => ({ number: i + 1, etag }))
    await at.objects.completeUpload({ ...named, uploadId, parts: written })
    expect(server.objects.get(named.key)?.body.equals(Buffer.concat(bodies))).to.equal(true)
  })

  describe('of an account whose key is not here', () => {
    const token = 'ya29.of-the-account'
    let platform: GooglePlatform
    let iam: IamStandIn
    let base: string
    const changed: [string, string | undefined][] = []
    beforeEach(async () => {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      platform = new GooglePlatform(EMAIL, token)
      base = await platform.start()
      const files = await at.stack.pki.issue(GATEWAY)
      iam = new IamStandIn(files, { email: EMAIL, key: privateKey }, token)
      server.stop()
      server = new GcsServer(files, { email: EMAIL, key: publicKey })
      server.token = token
      at.agent.stop()
    })
    afterEach(() => {
      iam.stop()
      platform.stop()
      for (const [name, value] of changed.splice(0))
        if (value === undefined) Reflect.deleteProperty(process.env, name)
        else process.env[name] = value
    })
    const set = (name: string, value: string): void => {
      changed.push([name, process.env[name]])
      process.env[name] = value
    }
    const start = async (more: object): Promise<void> => {
      const ends = { endpoint: await server.start(), signEndpoint: await iam.start() }
      const { stack, caFile } = at
      at = await ObjectStack.start(stack, caFile, { type: 'gcs', ...ends, ...more })
    }
    const roundTrip = async (): Promise<void> => {
      const put = await at.upload('runs/1/a', BODY, md5(BODY))
      expect(await at.status(put, BODY)).to.equal(200)
      const got = await at.send(await at.download('runs/1/a'))
      expect([got.status, got.body.equals(BODY)]).to.deep.equal([200, true])
      expect(iam.requests.length).to.be.above(1)
      expect(JSON.stringify(at.stack.log.lines)).not.to.include(token)
    }

    it('are signed by IAM for the account of the machine or its workload', async () => {
      set('GCE_METADATA_HOST', base.replace('http://', ''))
      set('METADATA_SERVER_DETECTION', 'assume-present')
      await start({})
      await roundTrip()
      expect(platform.requests.some((one) => one.endsWith('/token'))).to.equal(true)
      iam.token = 'another'
      const refused = await at.download('runs/1/a').then(
        () => 'it passed',
        (error: unknown) => (error as RpcError).message,
      )
      expect(refused).to.include('CREDENTIALS_MISSING')
    })

    it('are signed by IAM for the account that a federation stands for', async () => {
      const folder = at.stack.pki.folder
      writeFileSync(join(folder, 'subject'), 'a-token-of-elsewhere')
      const federation = {
        ...{ type: 'external_account', token_url: `${base}/sts/token` },
        audience:
          '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        credential_source: { file: join(folder, 'subject') },
        service_account_impersonation_url: `${base}/v1/projects/-/serviceAccounts/${EMAIL}:generateAccessToken`,
      }
      const credentialsFile = join(folder, 'federation.json')
      writeFileSync(credentialsFile, JSON.stringify(federation), { mode: 0o600 })
      await start({ credentialsFile })
      await roundTrip()
      expect(platform.requests).to.include('POST /sts/token')
    })
  })
})
