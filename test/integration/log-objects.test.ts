import { expect } from 'chai'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { TailResponse_Marker_Kind as Kind } from '../../src/gen/postern/dataplane/v1/logs_pb.js'
import { LogStack, secretFile } from '../support/logs/log-stack.ts'
import { ACCOUNT, Azurite, IdentityEndpoint } from '../support/objects/azurite.ts'
import { GcsServer, S3Server } from '../support/objects/object-server.ts'
import { GATEWAY } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

/** Of every Azurite: learn.microsoft.com, "Well-known storage account and key". */
const KNOWN_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
const labels = { project: 'billing', run: 'r1' }
const PREFIX = 'logs/billing/r1/'
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `line ${String(from + i)}`)
const text = (from: number, to: number): string => numbers(from, to).join('\n')

interface Bucket {
  readonly row: object
  readonly put: (key: string, body: Buffer, modified?: string) => Promise<void>
  readonly drop: (key: string) => Promise<void>
}

describe('logs in an object store', function () {
  let stack: Stack
  let bucket: Bucket
  let at: LogStack
  const undo: (() => void)[] = []
  const stores: Record<string, () => Promise<Bucket>> = {
    s3: async () => {
      const server = new S3Server(await stack.pki.issue(GATEWAY))
      undo.push(() => {
        server.stop()
      })
      const keys = '[default]\naws_access_key_id=AKIDTEST\naws_secret_access_key=secret-of-tests\n'
      const row = {
        ...{ type: 's3', endpoint: await server.start(), region: 'eu-west-1' },
        ...{ addressing: 'path', credentialsFile: secretFile(stack, 'aws', keys) },
      }
      return { row, ...held(server) }
    },
    gcs: async () => {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const email = 'agent@project.iam.gserviceaccount.com'
      const server = new GcsServer(await stack.pki.issue(GATEWAY), { email, key: publicKey })
      undo.push(() => {
        server.stop()
      })
      const account = {
        ...{ type: 'service_account', client_email: email, private_key_id: 'k' },
        private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      }
      const credentialsFile = secretFile(stack, 'gcs.json', JSON.stringify(account))
      return {
        row: { type: 'gcs', endpoint: await server.start(), credentialsFile },
        ...held(server),
      }
    },
    azure: async () => {
      const azurite = await Azurite.start(await stack.pki.issue(GATEWAY))
      await IdentityEndpoint.shared()
      undo.push(() => {
        azurite.stop()
      })
      const key = new StorageSharedKeyCredential(ACCOUNT, KNOWN_KEY)
      const ca = readFileSync(stack.pki.bundleFile, 'utf8')
      const options = { retryOptions: { maxTries: 1 }, tlsOptions: { ca } }
      const service = new BlobServiceClient(azurite.endpoint, key, options)
      const container = service.getContainerClient('artifacts')
      await container.create()
      return {
        row: { type: 'azure', endpoint: azurite.endpoint },
        put: async (name, body) => {
          await container.getBlockBlobClient(name).upload(body, body.length)
        },
        drop: async (name) => {
          await container.deleteBlob(name)
        },
      }
    },
  }
  const held = ({ objects }: S3Server | GcsServer): Omit<Bucket, 'row'> => ({
    put: async (key, body, modified) => {
      objects.set(key, { body, headers: {}, ...(modified === undefined ? {} : { modified }) })
      await Promise.resolve()
    },
    drop: async (key) => {
      objects.delete(key)
      await Promise.resolve()
    },
  })
  const start = async (name: string): Promise<void> => {
    bucket = await stores[name]!()
    const store = {
      ...{ name: 'artifacts', bucket: 'artifacts', caFile: stack.pki.bundleFile },
      ...{ prefixes: { 'task-io': ['runs/'] }, ...bucket.row },
    }
    const row = { type: 'objects', store: 'artifacts', prefix: 'logs/{project}/{run}/' }
    at = await LogStack.start(stack, row, labels, { stores: JSON.stringify([store]) })
  }
  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
    for (const act of undo.splice(0)) act()
  })

  for (const name of Object.keys(stores))
    it(`of ${name} are told in the order of their keys, packed or not, from a cursor once each`, async () => {
      await start(name)
      expect((await at.read()).lines).to.deep.equal([])
      await bucket.put(`${PREFIX}a 0+ü.log`, Buffer.from(`${text(1, 100)}\n`))
      await bucket.put(`${PREFIX}b.log.gz`, gzipSync(text(101, 200)))
      await bucket.put(`${PREFIX}c.log`, Buffer.from(text(201, 300)))
      await bucket.put('logs/billing/r10/a.log', Buffer.from('of another run\n'))
      expect((await at.read()).lines).to.deep.equal(numbers(1, 300))
      for (const limit of [1n, 99n, 100n, 101n, 150n, 299n]) {
        const first = await at.read({ limit })
        const rest = await at.read({ cursor: first.cursor })
        expect([...first.lines, ...rest.lines], String(limit)).to.deep.equal(numbers(1, 300))
        expect(rest.markers).to.deep.equal([])
      }
      expect((await at.read({ last: 3 })).lines).to.deep.equal(numbers(298, 300))
      expect((await at.read({ last: 150 })).lines).to.deep.equal(numbers(151, 300))
      expect((await at.read({ last: 1000 })).lines).to.deep.equal(numbers(1, 300))
    })

  it('are told piece by piece, however long an object is', async () => {
    await start('s3')
    const lines = Array.from({ length: 9000 }, (_, i) => `${String(i)} ${'x'.repeat(100)}`)
    await bucket.put(`${PREFIX}a.log`, Buffer.from(lines.join('\n')))
    await bucket.put(`${PREFIX}b.log.gz`, gzipSync(lines.join('\n')))
    const first = await at.read({ limit: 12_000n })
    const rest = await at.read({ cursor: first.cursor })
    expect([...first.lines, ...rest.lines]).to.deep.equal([...lines, ...lines])
  })

  it('are followed, the last object as it grows and those behind it', async () => {
    await start('s3')
    await bucket.put(`${PREFIX}a.log`, Buffer.from(`${text(1, 3)}\nline`))
    let step = 0
    const told = await at.read({ follow: true }, 6, () => {
      if (step++ > 0) return
      void bucket.put(`${PREFIX}a.log`, Buffer.from(`${text(1, 4)}\n`))
      void bucket.put(`${PREFIX}b.log`, Buffer.from(`${text(5, 6)}\n`))
    })
    expect(told.lines).to.deep.equal(numbers(1, 6))
  }).timeout(30_000)

  it('say so where an object is gone, pass over those of before, and are refused with odd cursors', async () => {
    await start('s3')
    await bucket.put(`${PREFIX}a.log`, Buffer.from(`${text(1, 3)}\n`), '2026-01-01T00:00:00.000Z')
    await bucket.put(`${PREFIX}b.log`, Buffer.from(`${text(4, 6)}\n`), '2026-02-01T00:00:00.000Z')
    const since = timestampFromMs(Date.UTC(2026, 0, 15))
    expect((await at.read({ since })).lines).to.deep.equal(numbers(4, 6))
    const { cursor } = await at.read({ limit: 2n })
    await bucket.drop(`${PREFIX}a.log`)
    const rest = await at.read({ cursor })
    expect(rest.markers).to.deep.equal([Kind.GAP])
    expect(rest.lines).to.deep.equal(numbers(4, 6))
    expect(await at.reason({ labels: { ...labels, run: 'r2' }, cursor })).to.include(
      'CURSOR_INVALID',
    )
    expect(await at.reason({ labels: { run: 'r1' } })).to.include('LOG_UNKNOWN')
  })

  it('go on behind an object that is broken, and tell no part of a line for a cursor that was made up', async () => {
    await start('s3')
    const packed = gzipSync(text(1, 2000))
    await bucket.put(`${PREFIX}a.log.gz`, packed.subarray(0, packed.length - 400))
    await bucket.put(`${PREFIX}b.log`, Buffer.from(`${text(3001, 3010)}\n`))
    const told = await at.read()
    expect(told.markers).to.deep.equal([Kind.GAP])
    expect(told.lines.slice(-10)).to.deep.equal(numbers(3001, 3010))
    const { cursor } = await at.read({ cursor: told.cursor, last: 1 })
    expect(cursor).to.equal('')
    const fields = JSON.parse(Buffer.from(told.cursor, 'base64url').toString()) as unknown[]
    const forge = (key: string, offset: number): string =>
      Buffer.from(JSON.stringify([fields[0], key, offset, 0, fields.at(-1)])).toString('base64url')
    for (let offset = 0; offset < 40; offset++) {
      const { lines } = await at.read({ cursor: forge('b.log', offset) })
      expect(lines).to.deep.equal(numbers(3011 - lines.length, 3010))
    }
    for (const key of ['../../x', 'a/../b', 'a\u0000', ''])
      expect(await at.reason({ cursor: forge(key, 0) }), key).to.match(/CURSOR_INVALID|it passed/)
  })
})
