import { expect } from 'chai'
import { copyFileSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, Health, type CallerPems, type ConnectOptions } from '../../src/client.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { rejection } from '../support/code-of.ts'
import { eventually } from '../support/eventually.ts'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

function pemsOf(files: KeyFilePaths): CallerPems {
  const read = (path: string): string => readFileSync(path, 'utf8')
  return {
    certificatePem: read(files.certificateFile),
    keyPem: read(files.keyFile),
    bundlePem: read(files.bundleFile),
  }
}

describe('the client', function () {
  let stack: Stack
  before(async () => {
    stack = await Stack.start()
    await stack.startAgent()
  })
  after(() => {
    stack.stop()
  })

  const options = (credentials: ConnectOptions['credentials']): ConnectOptions => ({
    addresses: [{ host: '127.0.0.1', port: stack.callerPort }],
    ...{ serverName: 'localhost', trustDomain: TRUST_DOMAIN, credentials },
  })
  /** By their certificates; the gateway's own canary is a caller, too. */
  const callers = (): string[] =>
    Array.from(stack.gateway.callers.connections, ({ facts }) => facts)
      .filter(({ identity }) => identity.role === 'caller')
      .map(({ certificate }) => certificate.toString('hex'))

  it('takes credentials as files, as texts, and from a function, and ends with its block', async () => {
    const files = await stack.pki.issue(CALLER)
    for (const credentials of [files, pemsOf(files), () => Promise.resolve(pemsOf(files))]) {
      await using gateways = await connect(options(credentials))
      const health = gateways.cluster('c-1').service(Health)
      expect((await health.check({ service: '' })).status).to.equal(1)
      await eventually(() => callers().length === 1, 'those before have hung up')
    }
    await eventually(() => callers().length === 0, 'all have hung up')
  })

  it('goes over to new ones, from files and from a function', async () => {
    const [first, second] = [await stack.pki.issue(CALLER), await stack.pki.issue(CALLER)]
    let now = pemsOf(first)
    const folder = stack.pki.folder
    const kept = {
      certificateFile: join(folder, 'kept.pem'),
      keyFile: join(folder, 'kept.key'),
      bundleFile: first.bundleFile,
    }
    const write = (files: KeyFilePaths): void => {
      copyFileSync(files.certificateFile, kept.certificateFile)
      copyFileSync(files.keyFile, kept.keyFile)
    }
    write(first)
    await using byFiles = await connect(options(kept))
    await using byFunction = await connect(options(() => now))
    const before = new Set(callers())
    expect(before.size).to.equal(1)
    write(second)
    now = pemsOf(second)
    await eventually(() => callers().every((serial) => !before.has(serial)), 'both went over')
    for (const gateways of [byFiles, byFunction])
      expect(await gateways.listClusters()).to.have.length(1)
  })

  it('says what is wrong with texts, and repeats nothing of a key', async () => {
    const pems = pemsOf(await stack.pki.issue(CALLER))
    const other = pemsOf(await stack.pki.issue(CALLER))
    const broken = pems.keyPem.replace('BEGIN', 'BEGUN')
    const error = await rejection(
      connect(options({ ...pems, keyPem: broken })),
      'CERTIFICATE_UNUSABLE',
    )
    expect(error.message).to.equal('[CERTIFICATE_UNUSABLE] keyPem: it holds no private key in PEM')
    expect(error.cause).to.equal(undefined)
    await rejection(connect(options({ ...pems, keyPem: other.keyPem })), 'KEY_MISMATCH')
    await rejection(connect(options({ ...pems, certificatePem: 'x' })), 'CERTIFICATE_UNUSABLE')
  })

  it('gives up connecting by its signal, before and while it waits', async () => {
    const files = await stack.pki.issue(CALLER)
    await rejection(connect({ ...options(files), signal: AbortSignal.abort() }), 'CANCELLED')
    const silent = createServer((socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    const abort = new AbortController()
    const waiting = connect({
      ...options(files),
      addresses: [{ host: '127.0.0.1', port }],
      signal: abort.signal,
    })
    silent.once('connection', () => {
      abort.abort()
    })
    await rejection(waiting, 'CANCELLED')
    silent.close()
  })

  it('outlives the signal that could have given it up', async () => {
    const abort = new AbortController()
    const files = await stack.pki.issue(CALLER)
    await using gateways = await connect({ ...options(files), signal: abort.signal })
    abort.abort()
    expect(await gateways.listClusters()).to.have.length(1)
  })
})
