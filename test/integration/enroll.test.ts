import { joinToken } from '../../src/identity/join-token.ts'
import { expect } from 'chai'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Authority, USAGE_CLIENT, USAGE_SERVER } from '../../src/identity/authority.ts'
import { Generations } from '../../src/identity/generations.ts'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { writeCertsOnly } from '../../src/identity/certs-only.ts'
import { readSigningRequest } from '../../src/identity/csr.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { makeKey, spkiPin } from '../../src/identity/keys.ts'
import { pemBlocks } from '../../src/identity/pem.ts'
import { signBundle } from '../../src/identity/trust-bundle.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { text, type HttpResponse } from '../../src/transport/http-answer.ts'
import { HttpsListener, type HttpRequest } from '../../src/transport/https-listen.ts'
import { NetworkBudget } from '../../src/transport/network-budget.ts'
import { TrustedProxies } from '../../src/transport/trusted-proxies.ts'
import { DEFAULT_HANDSHAKE_LIMITS } from '../../src/transport/handshake-gate.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'

const HOUR_MS = 3_600_000

/** Of the right form, and known to no gateway. */
const TOKEN = joinToken('0123456789ab', Buffer.alloc(32))

describe('agent enroll', function () {
  let plane: ControlPlane
  let folder: string
  before(async () => {
    plane = await ControlPlane.start()
  })
  after(() => {
    plane.stop()
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-enroll-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  const file = (name: string, content: string): string => {
    const path = join(folder, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
  const state = (): string[] => ['--state-directory', join(folder, 'state')]
  const enroll = (token: string, ...more: readonly string[]): Promise<CliRun> =>
    runCli('agent', [
      'enroll',
      '--gateway',
      plane.enrollUrl,
      '--token-file',
      file('token', token),
      ...state(),
      ...more,
    ])
  const pin = (): string[] => ['--ca-pin', plane.init.pin]

  const coded = (run: CliRun, status: number, code: string): void => {
    expect([run.status, run.stderr]).to.satisfy(
      ([found, text]: [number, string]) => found === status && text.includes(code),
    )
  }

  it('gets a certificate with which agent run is let in', async () => {
    const { token } = await plane.token({ agent: 'a-1' })
    const run = await enroll(token, ...pin(), '--json')
    expect(run.status, run.stderr).to.equal(0)
    expect(JSON.parse(run.stdout)).to.include({
      identity: `spiffe://${DOMAIN}/cluster/c-1/agent/a-1`,
    })
    expect(run.stdout + run.stderr).not.to.include(token.slice(21, 64))
    const { agents } = plane.addresses
    const settings = file(
      'agent.yaml',
      JSON.stringify({
        gateway: { address: `localhost:${String(agents.port)}` },
        trustDomain: DOMAIN,
        state: { directory: join(folder, 'state') },
      }),
    )
    const check = await runCli('agent', ['config', 'check', '--config', settings])
    expect([check.status, check.stderr]).to.deep.equal([0, ''])
  })

  for (const key of ['p384', 'ed25519', 'rsa3072']) {
    it(`makes a ${key} key where that is asked for`, async () => {
      const { token } = await plane.token()
      expect((await enroll(token, ...pin(), '--key', key)).status).to.equal(0)
      const chain = readFileSync(join(folder, 'state/current/chain.pem'), 'utf8')
      expect(createPublicKey(chain).asymmetricKeyType).to.equal(
        { p384: 'ec', ed25519: 'ed25519', rsa3072: 'rsa' }[key],
      )
    })
  }

  it('takes a bundle in place of a pin, and the token from a systemd credential', async () => {
    const { token } = await plane.token()
    file('join-token', `${token}\n`)
    const args = [
      'enroll',
      '--gateway',
      plane.enrollUrl,
      '--ca-bundle',
      plane.bundleFile,
      ...state(),
    ]
    expect((await runCli('agent', args)).status).to.equal(64)
    expect((await runCli('agent', args, { CREDENTIALS_DIRECTORY: folder })).status).to.equal(0)
  })

  it('keeps the key under a passphrase from the very first, where one is given', async () => {
    const file = join(folder, 'passphrase')
    writeFileSync(file, 'correct horse', { mode: 0o600 })
    const { token } = await plane.token()
    expect((await enroll(token, ...pin(), '--passphrase-file', file)).status).to.equal(0)
    const key = readFileSync(join(folder, 'state/current/key.pem'), 'utf8')
    expect(key).to.include('BEGIN ENCRYPTED PRIVATE KEY')
  })

  it('refuses to begin without a pin or a bundle, with a wrong address, or over an identity', async () => {
    const { token } = await plane.token()
    for (const more of [
      [],
      ['--ca-pin', 'sha256:12'],
      [...pin(), '--ca-bundle', plane.bundleFile],
      [...pin(), '--gateway', 'http://localhost:1'],
    ])
      expect((await enroll(token, ...more)).status, more.join(' ')).to.equal(64)
    expect((await enroll(token, ...pin())).status).to.equal(0)
    const before = readFileSync(join(folder, 'state/current/chain.pem'))
    coded(await enroll(token, ...pin()), 73, '[STATE_EXISTS]')
    const damaged = await enroll('wrong', ...pin(), '--force')
    coded(damaged, 77, '[TOKEN_REFUSED]')
    expect(damaged.stderr).to.include('the token was sent nowhere')
    const spent = await enroll(token, ...pin(), '--force')
    coded(spent, 77, '[TOKEN_REFUSED]')
    expect(spent.stderr).to.include('make another with gateway tokens create --cluster')
    expect(readFileSync(join(folder, 'state/current/chain.pem'))).to.deep.equal(before)
  })

  it('sends its token to no gateway whose region the policy does not allow', async () => {
    const { token } = await plane.token()
    const policy = (region: string): Record<string, string> => ({
      POSTERN_POLICY_FILE: file('policy.yaml', `version: 1\nresidency: { gateways: [${region}] }`),
    })
    const path = file('token', token)
    const args = ['enroll', '--gateway', plane.enrollUrl, '--token-file', path, ...pin()]
    const run = (region: string) => runCli('agent', [...args, ...state()], policy(region))
    coded(await run('us-east'), 77, 'REGION_REFUSED')
    expect((await run('eu')).stderr).to.include('REGION_REFUSED')
    // It was not used up.
    expect((await runCli('agent', [...args, ...state()])).status).to.equal(0)
  })

  it('says when there is no identity yet', async () => {
    const args = ['run', '--gateway-address', 'localhost:1', '--trust-domain', DOMAIN, ...state()]
    coded(await runCli('agent', args), 78, '[NOT_ENROLLED]')
    const one = ['--identity-key-file', '/nowhere']
    coded(await runCli('agent', [...args, ...one]), 78, '[CONFIG_INVALID]')
  })

  it('goes on after a crash between request and answer, with the same key and the same token', async () => {
    const { token } = await plane.token()
    const first = await enroll(token, ...pin())
    expect(first.status).to.equal(0)
    const [chain, key] = ['chain.pem', 'key.pem'].map((name) =>
      readFileSync(join(folder, 'state/current', name), 'utf8'),
    )
    // As if the answer had never come: the key is still pending, and nothing was installed.
    rmSync(join(folder, 'state'), { recursive: true })
    await new Generations(join(folder, 'state')).pendingKey(() =>
      Promise.resolve(createPrivateKey(key ?? '')),
    )
    expect((await enroll(token, ...pin())).status).to.equal(0)
    expect(readFileSync(join(folder, 'state/current/chain.pem'), 'utf8')).to.equal(chain)
  })

  describe('against a hostile gateway', () => {
    const seen: HttpRequest[] = []
    let bundles: readonly [status: number, body: string] = [404, 'none']
    let impostor: HttpsListener
    let url: string
    let answer: (request: HttpRequest) => Promise<HttpResponse> | HttpResponse
    let agents: Authority

    const certsOnly = (...certificates: readonly Uint8Array[]): HttpResponse => ({
      status: 200,
      headers: { 'content-type': 'application/pkcs7-mime' },
      body: writeCertsOnly(certificates).toString('base64'),
    })
    const root = (): Buffer =>
      pemBlocks(readFileSync(plane.bundleFile, 'utf8'), 'CERTIFICATE')[0] ?? Buffer.alloc(0)
    const caCerts = (): HttpResponse =>
      certsOnly(root(), new Uint8Array(agents.certificate.rawData))
    const leafFor = async (publicKey: ReturnType<typeof createPublicKey>, changes = {}) =>
      new Uint8Array(
        (
          await agents.issue(publicKey, {
            commonName: 'agent',
            uris: [`spiffe://${DOMAIN}/cluster/c-1/agent/a-1`],
            usage: [USAGE_CLIENT],
            notBefore: new Date(Date.now() - HOUR_MS),
            notAfter: new Date(Date.now() + HOUR_MS),
            ...changes,
          })
        ).rawData,
      )
    const keyOf = async (request: HttpRequest) =>
      readSigningRequest(Buffer.from((await request.body()).toString(), 'base64')).publicKey

    before(async () => {
      const at = (name: string): string => join(plane.folder, 'cp', name)
      agents = readAuthority(at('ca'), 'agents')
      const paths = {
        certificateFile: at('identity/current/chain.pem'),
        keyFile: at('identity/current/key.pem'),
        bundleFile: at('bundle.pem'),
      }
      impostor = new HttpsListener({
        address: { host: '127.0.0.1', port: 0 },
        credential: readCredential(paths, 'gateway', Date.now()),
        expected: undefined,
        limits: DEFAULT_HANDSHAKE_LIMITS,
        budget: new NetworkBudget(systemClock),
        proxies: new TrustedProxies(),
        clock: systemClock,
        logger: new LogRecorder(),
        handle: async (request) => {
          if (request.path.startsWith('/.well-known/postern/')) return text(...bundles)
          seen.push(request)
          return request.path.endsWith('/cacerts') ? caCerts() : await answer(request)
        },
      })
      url = `https://localhost:${String((await impostor.listen()).port)}`
    })
    after(() => {
      impostor.close()
    })

    const cases: readonly (readonly [string, typeof answer, RegExp])[] = [
      [
        'a certificate for another key',
        async () => certsOnly(await leafFor(createPublicKey(await makeKey('p256')))),
        /another key/,
      ],
      [
        'one for a caller',
        async (request) =>
          certsOnly(await leafFor(await keyOf(request), { uris: [`spiffe://${DOMAIN}/caller/x`] })),
        /role is caller/,
      ],
      [
        'one for a gateway',
        async (request) =>
          certsOnly(await leafFor(await keyOf(request), { usage: [USAGE_SERVER] })),
        /extended key usage/,
      ],
      [
        'one of another trust domain',
        async (request) =>
          certsOnly(
            await leafFor(await keyOf(request), {
              uris: ['spiffe://other.test/cluster/c-1/agent/a-1'],
            }),
          ),
        /permits/,
      ],
      [
        'one that has expired',
        async (request) =>
          certsOnly(await leafFor(await keyOf(request), { notAfter: new Date(Date.now() - 1000) })),
        /expired/,
      ],
      [
        'one under a CA that we do not trust',
        async (request) => {
          const validity = {
            notBefore: new Date(Date.now() - HOUR_MS),
            notAfter: new Date(Date.now() + HOUR_MS),
          }
          const other = await Authority.createRoot('other', validity)
          const leaf = await other.issue(await keyOf(request), {
            commonName: 'x',
            uris: [`spiffe://${DOMAIN}/cluster/c-1/agent/a-1`],
            usage: [USAGE_CLIENT],
            ...validity,
          })
          return certsOnly(new Uint8Array(leaf.rawData))
        },
        /no certificate that is trusted/,
      ],
      [
        'two certificates',
        async (request) =>
          certsOnly(await leafFor(await keyOf(request)), await leafFor(await keyOf(request))),
        /exactly one/,
      ],
      ['none', () => certsOnly(), /exactly one/],
      [
        'no certificate at all',
        () => ({ status: 200, headers: {}, body: 'bm8=' }),
        /cannot be decoded/,
      ],
      ['no base64', () => ({ status: 200, headers: {}, body: '<html>' }), /not base64/],
      [
        'more than it may',
        () => ({ status: 200, headers: {}, body: 'A'.repeat(100_000) }),
        /too large/,
      ],
    ]
    for (const [what, wrong, told] of cases) {
      it(`takes no answer with ${what}`, async () => {
        answer = wrong
        const run = await enroll(TOKEN, ...pin(), '--gateway', url)
        coded(run, 76, '[ENROL_ANSWER_INVALID]')
        expect(run.stderr).to.match(told)
        expect(() => readFileSync(join(folder, 'state/current/chain.pem'))).to.throw('ENOENT')
      })
    }

    it('takes no trust bundle that the pinned root has not signed, whichever root it adds or drops', async () => {
      const validity = {
        notBefore: new Date(Date.now() - 1000),
        notAfter: new Date(Date.now() + 1e7),
      }
      const hostile = await Authority.createRoot('hostile', validity)
      const content = { trustDomain: DOMAIN, version: 9, madeAtMs: Date.now(), issuing: [] }
      answer = async (request) => certsOnly(await leafFor(await keyOf(request)))
      for (const roots of [[hostile.der], [agents.der]]) {
        bundles = [200, signBundle({ ...content, roots }, [hostile]).toString('base64')]
        const { token } = await plane.token()
        coded(await enroll(token, ...pin(), '--gateway', url), 77, 'BUNDLE_REFUSED')
      }
      bundles = [404, 'none']
    })

    it('follows no redirect, and says what was answered without its control characters', async () => {
      answer = () => ({
        status: 302,
        headers: { location: plane.enrollUrl },
        body: 'go \u001b[31mthere',
      })
      const run = await enroll(TOKEN, ...pin(), '--gateway', url)
      coded(run, 69, '[ENROL_FAILED]')
      expect(run.stderr).to.include('answered 302').and.not.include('\u001b')
    })

    it('sends nothing of the token to a gateway without the pinned root', async () => {
      seen.length = 0
      const run = await enroll(TOKEN, '--ca-pin', spkiPin(Buffer.from('another')), '--gateway', url)
      coded(run, 77, '[CA_PIN_MISMATCH]')
      expect(
        seen.map(({ method, path, header }) => [method, path, header('authorization')]),
      ).to.deep.equal([['GET', '/.well-known/est/cacerts', undefined]])
    })

    it('nor to one that knows the pinned root and is not vouched for by it', async () => {
      seen.length = 0
      const other = await ControlPlane.start()
      try {
        const run = await enroll(TOKEN, '--ca-bundle', other.bundleFile, '--gateway', url)
        coded(run, 77, '[CERT_UNTRUSTED]')
        expect(seen).to.deep.equal([])
      } finally {
        other.stop()
      }
    })
  })

  it('says when the gateway is not there', async () => {
    const run = await enroll(TOKEN, ...pin(), '--gateway', 'https://localhost:1')
    coded(run, 69, '[DIAL_FAILED]')
  })
})
