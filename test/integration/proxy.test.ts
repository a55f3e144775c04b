import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { expect } from 'chai'
import { request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'
import { SealedStack } from '../support/sealed-stack.ts'

const same = (bytes: Buffer): Buffer => bytes
const CHECK = '/grpc.health.v1.Health/Check'

describe('gateway proxy', function () {
  let at: SealedStack
  let flags: string[]
  before(async () => {
    at = await SealedStack.start()
    const { certificateFile, keyFile, bundleFile } = await at.stack.pki.issue(CALLER)
    flags = [
      ...['--trust-domain', TRUST_DOMAIN, '--gateway-server-name', 'localhost'],
      ...['--gateway-address', `127.0.0.1:${String(at.stack.callerPort)}`],
      ...['--identity-certificate-file', certificateFile, '--identity-key-file', keyFile],
      ...['--identity-bundle-file', bundleFile],
    ]
  })
  after(() => {
    at.stop()
  })

  /** Runs the command while `use` runs with what it printed. */
  async function whileUp(
    words: readonly string[],
    use: (printed: string) => Promise<void>,
  ): Promise<CliRun> {
    let stop = (): void => undefined
    const up = Promise.withResolvers<string>()
    const ended = runCli(
      'gateway',
      ['proxy', ...words, ...flags],
      {},
      {
        onResult: up.resolve,
        onStart: (how) => {
          stop = how
        },
      },
    )
    ended.then(({ stderr }) => {
      up.reject(new Error(stderr))
    }, up.reject)
    try {
      await use(await up.promise)
    } finally {
      stop()
    }
    return await ended
  }

  const check = (
    address: string,
    fields: Readonly<Record<string, string>> = {},
  ): Promise<{ code: number; answer: string }> => {
    const client = new Client(address, credentials.createInsecure())
    const metadata = new Metadata()
    for (const [name, value] of Object.entries(fields)) metadata.set(name, value)
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        CHECK,
        same,
        same,
        Buffer.alloc(0),
        metadata,
        (error: ServiceError | null, answer?: Buffer) => {
          client.close()
          resolve({
            code: error === null ? 0 : error.code,
            answer: answer?.toString('hex') ?? '',
          })
        },
      )
    })
  }
  const sealing = (): string[] => [
    ...['--sealed', '--pin', at.pin, '--seal-key-file', at.key.keyFile],
  ]

  it('makes sealed calls for a program that knows nothing of sealing', async () => {
    const run = await whileUp(['--cluster', 'c-1', ...sealing()], async (printed) => {
      const address = /127\.0\.0\.1:\d+/.exec(printed)?.[0] ?? ''
      // The agent's policy takes calls of those that it knows first-hand alone.
      expect(await check(address)).to.deep.equal({ code: 0, answer: '0801' })
      expect(await check(address, { 'postern-cluster': 'c-1' })).to.include({ code: 0 })
      expect(await check(address, { 'postern-cluster': 'c-9' })).to.include({ code: 14 })
      expect(await check(address, { 'postern-cluster': '-' })).to.include({ code: 0 })
    })
    expect(run).to.include({ status: 0, stderr: '' })
  })

  it('never falls back to calls that are not sealed, nor seals what it is not asked to', async () => {
    await whileUp(['--cluster', 'c-1', '--json'], async (printed) => {
      const { address, port } = JSON.parse(printed) as { address: string; port: number }
      expect(await check(`${address}:${String(port)}`)).to.include({ code: 7 })
    })
    const other = `sha256:${'0'.repeat(64)}`
    const words = [
      '--cluster',
      'c-1',
      '--json',
      ...sealing().map((one) => (one === at.pin ? other : one)),
    ]
    await whileUp(words, async (printed) => {
      const { address, port } = JSON.parse(printed) as { address: string; port: number }
      const { code } = await check(`${address}:${String(port)}`)
      expect(code).to.not.equal(0)
    })
  })

  it('listens at a unix socket for its own user', async () => {
    const path = join(at.stack.pki.folder, 'proxy.sock')
    await whileUp(
      ['--listen', `unix:${path}`, '--cluster', 'c-1', ...sealing()],
      async (printed) => {
        expect(printed).to.equal(`taking calls at unix:${path}`)
        expect(await check(`unix:${path}`)).to.deep.equal({ code: 0, answer: '0801' })
      },
    )
  })

  it('takes no calls of pages in a browser', async () => {
    await whileUp(['--cluster', 'c-1', '--json', ...sealing()], async (printed) => {
      const { port } = JSON.parse(printed) as { port: number }
      const status = (headers: Record<string, string>): Promise<number | undefined> =>
        new Promise((resolve, reject) => {
          const fields = { 'content-type': 'application/proto', ...headers }
          const sent = request({
            port,
            host: '127.0.0.1',
            path: CHECK,
            method: 'POST',
            headers: fields,
          })
          sent.on('response', (response: IncomingMessage) => {
            response.resume()
            resolve(response.statusCode)
          })
          sent.on('error', reject)
          sent.end()
        })
      expect(await status({})).to.equal(200)
      expect(await status({ origin: 'https://evil.example.com' })).to.equal(403)
      expect(await status({ host: 'evil.example.com' })).to.equal(403)
    })
  })

  it('refuses to listen where others reach it, and what it cannot do, at once', async () => {
    for (const [words, text] of [
      [['--listen', '0.0.0.0:0'], 'for this machine alone'],
      [['--listen', 'nonsense'], '--listen'],
      [['--pin', at.pin], '--pin goes with --sealed'],
    ] as const) {
      const { status, stderr } = await runCli('gateway', ['proxy', ...words, ...flags])
      expect([status, stderr.includes(text)], stderr).to.deep.equal([64, true])
    }
  })
})
