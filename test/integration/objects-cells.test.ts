import { expect } from 'chai'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { SignedUrl } from '../../src/gen/postern/dataplane/v1/object_store_pb.js'
import { readStore } from '../../src/config/store-row.ts'
import { secretFile } from '../support/logs/log-stack.ts'
import { ACCOUNT, Azurite, IdentityEndpoint } from '../support/objects/azurite.ts'
import { GcsServer, S3Server } from '../support/objects/object-server.ts'
import { ObjectStack, sumOf, type StoreSettings } from '../support/objects/object-stack.ts'
import { GATEWAY } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

/** Of every Azurite: learn.microsoft.com, "Well-known storage account and key". */
const KNOWN_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
const BODY = Buffer.from('an object of a task')
const LONGER = Buffer.from('an object of a task, and more')
const OTHER = Buffer.from('an object of nobody')
const STORES = ['S3', 'GCS', 'Azure Blob'] as const
type StoreName = (typeof STORES)[number]
const KMS_KEY = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'

/** The table of docs/DATA-PLANE.md: what each store says of each row. */
function cells(): Map<string, Record<StoreName, string>> {
  const text = readFileSync(new URL('../../docs/DATA-PLANE.md', import.meta.url), 'utf8')
  const [, table = ''] = text.split('| | S3 | GCS | Azure Blob |\n|---|---|---|---|\n')
  const rows = table.split('\n\n')[0]?.split('\n') ?? []
  return new Map(
    rows.map((row) => {
      const [, what = '', ...said] = row.split('|').map((one) => one.trim())
      const [S3 = '', GCS = '', azure = ''] = said
      return [what, { S3, GCS, 'Azure Blob': azure }]
    }),
  )
}

describe('what a presigned URL binds', function () {
  let stack: Stack
  const rows = {} as Record<StoreName, StoreSettings>
  const servers: { stop(): void }[] = []
  let at: ObjectStack
  let serial = 0
  before(async () => {
    stack = await Stack.start()
    const files = await stack.pki.issue(GATEWAY)
    const s3 = new S3Server(files)
    const keys = '[default]\naws_access_key_id=AKIDTEST\naws_secret_access_key=secret-of-tests\n'
    rows.S3 = {
      ...{ type: 's3', region: 'eu-west-1', endpoint: await s3.start(), encryption: 'AES256' },
      credentialsFile: secretFile(stack, 'aws', keys),
    }
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const email = 'agent@project.iam.gserviceaccount.com'
    const gcs = new GcsServer(files, { email, key: publicKey })
    const account = {
      ...{ type: 'service_account', client_email: email, private_key_id: 'k' },
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    }
    rows.GCS = {
      ...{ type: 'gcs', endpoint: await gcs.start(), encryptionKey: KMS_KEY },
      credentialsFile: secretFile(stack, 'gcs.json', JSON.stringify(account)),
    }
    const azurite = await Azurite.start(files)
    await IdentityEndpoint.shared()
    const key = new StorageSharedKeyCredential(ACCOUNT, KNOWN_KEY)
    const tls = { tlsOptions: { ca: readFileSync(stack.pki.bundleFile, 'utf8') } }
    const options = { retryOptions: { maxTries: 1 }, ...tls }
    await new BlobServiceClient(azurite.endpoint, key, options).createContainer('artifacts')
    rows['Azure Blob'] = { type: 'azure', endpoint: azurite.endpoint }
    servers.push(s3, gcs, azurite)
  })
  after(() => {
    stack.stop()
    for (const server of servers) server.stop()
  })
  afterEach(() => {
    for (const agent of stack.agents.splice(0)) agent.stop()
  })
  const start = async (store: StoreName, more: StoreSettings = {}): Promise<void> => {
    at = await ObjectStack.start(stack, stack.pki.bundleFile, { ...rows[store], ...more })
  }
  const sum = (store: StoreName) => ({
    checksum: sumOf(store === 'S3' ? 'sha256' : 'md5', BODY),
  })
  const upload = (store: StoreName, more: object = {}): Promise<SignedUrl> =>
    at.upload(`runs/${String(++serial)}`, BODY, { ...sum(store), ...more })
  const isTaken = async (...args: Parameters<ObjectStack['send']>): Promise<boolean> =>
    (await at.status(...args)) < 300
  /** The same request without a header, and with another value of it. */
  const without = (url: SignedUrl, name: string): Record<string, string> =>
    Object.fromEntries(Object.entries(url.headers).filter(([one]) => one !== name))
  const headerOf = (url: SignedUrl, value: string): string =>
    Object.entries(url.headers).find(([, one]) => one === value)?.[0] ?? ''

  /** Whether each store binds it: what the table says by "yes" and "no". */
  const CHECKS: Record<string, (store: StoreName) => Promise<boolean>> = {
    'one object, one verb, until its end': async (store) => {
      const put = await upload(store)
      const path = `runs/${String(serial)}`
      const tries = [
        await isTaken(put, BODY, { method: 'GET' }),
        await isTaken(put, BODY, { method: 'DELETE' }),
        await isTaken(put, BODY, { url: put.url.replace(path, `${path}0`) }),
        await isTaken(put, BODY, {
          url: put.url.replace(/(Expires=)900|(se=)[^&]+/, (_all, by: string | undefined) =>
            by === undefined ? 'se=2999-01-01T00%3A00%3A00Z' : `${by}9000`,
          ),
        }),
      ]
      expect(await isTaken(put, BODY)).to.equal(true)
      const get = await at.download(path)
      const mayHead = (await at.status(get, undefined, { method: 'HEAD' })) < 300
      expect(mayHead, 'who may read may HEAD').to.equal(store !== 'S3')
      return !tries.includes(true) && !(await isTaken(get, undefined, { method: 'DELETE' }))
    },
    'https alone': async (store) => {
      const { url } = await upload(store)
      const endpoint = String(rows[store].endpoint).replace('https:', 'http:')
      const prefixes = { 'task-io': ['runs/'] }
      const row = { name: 'a', bucket: 'artifacts', prefixes, ...rows[store], endpoint }
      expect(() => readStore(row)).to.throw('https')
      if (store === 'Azure Blob') expect(new URL(url).searchParams.get('spr')).to.equal('https')
      return url.startsWith('https:')
    },
    length: async (store) => {
      const put = await upload(store)
      const own = { ...put.headers, 'content-length': String(LONGER.length) }
      const sums = store === 'Azure Blob' ? { 'content-md5': md5Of(LONGER) } : {}
      return !(await isTaken(put, LONGER, { headers: { ...own, ...sums } }))
    },
    checksum: async (store) => {
      const algorithms = { S3: ['sha256', 'crc32c', 'md5'], GCS: ['md5', 'crc32c'] } as const
      if (store !== 'Azure Blob') {
        for (const algorithm of algorithms[store]) {
          const put = await upload(store, { checksum: sumOf(algorithm, BODY) })
          expect(await isTaken(put, OTHER), algorithm).to.equal(false)
          const name = headerOf(put, valueOf(store, algorithm))
          expect(await isTaken(put, OTHER, { headers: without(put, name) }), name).to.equal(false)
          expect(await isTaken(put, BODY), algorithm).to.equal(true)
        }
        return true
      }
      const put = await upload(store)
      expect(await isTaken(put, OTHER), 'checked where it is sent').to.equal(false)
      return !(await isTaken(put, OTHER, { headers: without(put, 'content-md5') }))
    },
    'content type': async (store) => {
      const put = await upload(store)
      const headers = { ...put.headers, 'content-type': 'text/html' }
      return !(await isTaken(put, BODY, { headers }))
    },
    encryption: async (store) => {
      const name = { S3: 'x-amz-server-side-encryption', GCS: 'x-goog-encryption-kms-key-name' }
      if (store === 'Azure Blob') {
        at.agent.stop()
        await start(store, { encryptionKey: 'of-the-customer' })
        const { url } = await upload(store)
        return new URL(url).searchParams.get('ses') === 'of-the-customer'
      }
      const put = await upload(store)
      expect(put.headers[name[store]]).to.be.oneOf(['AES256', KMS_KEY])
      const left = await isTaken(put, BODY, { headers: without(put, name[store]) })
      const other = { ...put.headers, [name[store]]: 'another' }
      return !left && !(await isTaken(put, BODY, { headers: other })) && (await isTaken(put, BODY))
    },
    'that nothing is there yet': async (store) => {
      const put = await upload(store)
      expect(await isTaken(put, BODY)).to.equal(true)
      if (store === 'Azure Blob') expect(new URL(put.url).searchParams.get('sp')).to.equal('c')
      return !(await isTaken(put, BODY))
    },
  }

  it('has a test for each row of the table', () => {
    expect([...cells().keys()].sort()).to.deep.equal(Object.keys(CHECKS).sort())
  })

  for (const [what, said] of cells())
    for (const store of STORES)
      it(`${what}, of ${store}: ${said[store]}`, async () => {
        await start(store)
        const isBound = (await CHECKS[what]?.(store)) ?? false
        // "not bound" and "no" are the words of the table for what a store cannot.
        const isSaid = !/^no$|not bound/.test(said[store])
        expect(isBound).to.equal(isSaid)
      })
})

function md5Of(body: Buffer): string {
  return Buffer.from(sumOf('md5', body).value.value).toString('base64')
}

/** What the header of a checksum says. */
function valueOf(store: StoreName, algorithm: 'sha256' | 'crc32c' | 'md5'): string {
  const text = Buffer.from(sumOf(algorithm, BODY).value.value).toString('base64')
  return store === 'GCS' && algorithm === 'crc32c' ? `crc32c=${text}` : text
}
