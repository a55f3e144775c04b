import { expect } from 'chai'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { join } from 'node:path'
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose'
import { RoleBook } from '../../src/gateway/roles/roles.ts'
import { Records } from '../../src/store/records.ts'
import { ApiStack } from '../support/api-stack.ts'
import { eventually } from '../support/eventually.ts'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { noteText } from '../support/seen.ts'

const ISSUER = 'https://login.example.com'
const AUDIENCE = 'postern-api'

describe('callers with tokens', function () {
  let at: ApiStack
  let records: Records
  let roles: RoleBook
  let session: ClientHttp2Session
  const folder = mkdtempSync(join(tmpdir(), 'postern-api-'))
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  before(async () => {
    const jwksFile = join(folder, 'jwks.json')
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
    writeFileSync(jwksFile, JSON.stringify({ keys: [jwk] }))
    const file = join(folder, 'records.db')
    at = await ApiStack.start({
      'api.tokenListen': '127.0.0.1:0',
      'api.issuers': JSON.stringify([{ issuer: ISSUER, audience: AUDIENCE, jwksFile }]),
      'records.file': file,
    })
    records = await Records.open(file)
    roles = new RoleBook(records)
    const ca = readFileSync(at.files.bundleFile)
    session = connect(`https://localhost:${String(at.tokenPort)}`, { ca })
    session.on('error', () => undefined)
  })
  after(async () => {
    session.destroy()
    await records.close()
    at.stop()
  })

  function token(
    said: {
      audience?: string
      issuer?: string
      subject?: string
      exp?: string | number
      key?: KeyObject
    } = {},
  ): Promise<string> {
    const {
      audience = AUDIENCE,
      issuer = ISSUER,
      subject = 'anna',
      exp = '5m',
      key = privateKey,
    } = said
    return new SignJWT({ groups: ['deploy'] })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(subject)
      .setIssuedAt()
      .setExpirationTime(exp)
      .sign(key)
  }

  /** A call by gRPC whose request is `x`: its status and text. */
  function call(
    authorization: string | undefined,
    more: { cluster?: string; method?: string; fields?: Record<string, string> } = {},
  ): Promise<{ status: number; text: string; body: string }> {
    const { cluster = 'c-1', method = 'test.v1.Echo/Unary', fields = {} } = more
    const stream = session.request({
      ...{ ':method': 'POST', ':path': `/${method}`, 'content-type': 'application/grpc' },
      ...{ te: 'trailers', 'postern-cluster': cluster, ...fields },
      ...(authorization === undefined ? {} : { authorization }),
    })
    return new Promise((resolve, reject) => {
      const told: IncomingHttpHeaders = {}
      const parts: Buffer[] = []
      stream.on('response', (headers) => Object.assign(told, headers))
      stream.on('trailers', (headers) => Object.assign(told, headers))
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.on('error', reject)
      stream.on('close', () => {
        const text = decodeURIComponent([told['grpc-message'] ?? ''].flat().join())
        noteText(text)
        resolve({
          status: Number(told['grpc-status']),
          text,
          body: Buffer.concat(parts).subarray(5).toString(),
        })
      })
      stream.end(Buffer.from('0000000001' + '78', 'hex'))
    })
  }

  const grant = async (methods: readonly string[] = ['*']): Promise<void> => {
    const members = [{ issuer: ISSUER, group: 'deploy' }]
    const role = { name: 'ci', members, clusters: ['c-1'], methods, services: [] }
    await roles.grant(role, true, { actor: 'test', nowMs: Date.now() })
  }

  it('may use nothing without a role, and what their roles allow within a second', async () => {
    const bearer = `Bearer ${await token()}`
    const before = await call(bearer)
    expect(before).to.include({ status: 14 })
    const unknown = await call(bearer, { cluster: 'c-9' })
    expect(before.text.replace('c-1', 'c-9')).to.equal(unknown.text)
    expect(
      await call(bearer, { cluster: '-', method: 'postern.v1.Gateway/ListClusters' }),
    ).to.include({
      status: 7,
    })
    await grant(['test.v1.Echo/*'])
    await eventually(async () => (await call(bearer)).status === 0, 'the role is in force')
    expect(await call(bearer)).to.include({ body: 'x' })
    expect(await call(bearer, { method: 'grpc.health.v1.Health/Check' })).to.include({ status: 7 })
  })

  it('come to the agent as callers by token, whatever their subject is', async () => {
    await grant()
    const seen: unknown[] = []
    at.stack.agents[0]?.services.server.offer({
      name: 'test.v1.Echo/Unary',
      data: { carries: 'metric', request: 'metric', response: 'metric', about: [] },
      handler: {
        kind: 'unary',
        handle: (request, { caller, metadata }) => {
          seen.push(caller, { ...metadata })
          return request
        },
      },
    })
    const bearer = `Bearer ${await token({ subject: 'tester' })}`
    const fields = { tenant: 'acme', 'x-forwarded-for': '1.2.3.4', 'postern-caller': 'root' }
    await eventually(
      async () => (await call(bearer, { fields })).status === 0,
      'the call comes through',
    )
    expect(seen.slice(-2)).to.deep.equal([
      { kind: 'service', name: 'tester', known: 'token', issuer: ISSUER },
      { tenant: 'acme' },
    ])
  })

  it('are refused with anything but a good token, in words that say nothing of it', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const none = new UnsecuredJWT({ sub: 'anna' }).setIssuer(ISSUER).setAudience(AUDIENCE)
    for (const [what, authorization] of [
      ['no token', undefined],
      ['another scheme', 'Basic YTpi'],
      ['no JWT', 'Bearer secret-word'],
      ['one for another audience', `Bearer ${await token({ audience: 'c-1' })}`],
      ['one of another issuer', `Bearer ${await token({ issuer: 'https://other.example.com' })}`],
      ['one that has expired', `Bearer ${await token({ exp: 1 })}`],
      ['one of another key', `Bearer ${await token({ key: other })}`],
      ['one without a signature', `Bearer ${none.setExpirationTime('5m').setIssuedAt().encode()}`],
      ['one with a subject that is none', `Bearer ${await token({ subject: 'a b' })}`],
      ['a huge one', `Bearer ${'a'.repeat(17_000)}.b.c`],
    ] as const) {
      const { status, text } = await call(authorization)
      expect(status, what).to.equal(16)
      expect(text, what)
        .to.match(/^the token: /)
        .and.not.include('secret-word')
    }
  })

  it('lose their streams when their token ends, and when their role is taken away', async () => {
    await grant()
    const ends = Math.ceil(Date.now() / 1000) + 2
    // Verifiers allow for clocks that differ; the end of a stream is that of the token.
    const short = `Bearer ${await token({ exp: ends })}`
    await eventually(async () => (await call(short)).status === 0, 'the role is in force')
    const ended = await call(short, { method: 'test.v1.Echo/Never' })
    expect(ended).to.include({ status: 16, text: 'the token of the caller has ended' })
    const bearer = `Bearer ${await token()}`
    const running = call(bearer, { method: 'test.v1.Echo/Never' })
    await eventually(
      () => at.stack.agents[0]?.services.server.runningCount === 1,
      'the handler runs',
    )
    await roles.revoke('ci', { actor: 'test', nowMs: Date.now() })
    expect(await running).to.include({ status: 7 })
  })

  it('are taken no more, and lose what runs, once their issuer is not', async () => {
    await grant()
    const bearer = `Bearer ${await token()}`
    await eventually(async () => (await call(bearer)).status === 0, 'the role is in force')
    const { gateway } = at.stack
    const { settings } = gateway
    const running = call(bearer, { method: 'test.v1.Echo/Never' })
    await eventually(
      () => at.stack.agents[0]?.services.server.runningCount === 1,
      'the handler runs',
    )
    // A reload that fails changes nothing.
    const key = settings['identity.keyFile'] ?? ''
    const pem = readFileSync(key, 'utf8')
    writeFileSync(key, 'no key')
    expect(() => {
      gateway.reload({ ...settings, 'api.issuers': [] })
    }).to.throw()
    writeFileSync(key, pem)
    expect(gateway.settings['api.issuers']).to.have.length(1)
    expect(await call(bearer)).to.include({ status: 0 })
    gateway.reload({ ...settings, 'api.issuers': [] })
    expect(await running).to.include({ status: 16 })
    expect(await call(bearer)).to.include({ status: 16 })
    gateway.reload(settings)
    expect(await call(bearer)).to.include({ status: 0 })
    await roles.revoke('ci', { actor: 'test', nowMs: Date.now() })
    await eventually(async () => (await call(bearer)).status === 14, 'the role is in force no more')
  })

  it('pay for what is refused to them, and others do not', async () => {
    const known = `Bearer ${await token()}`
    expect(await call(known)).to.include({ status: 14 })
    const answers: number[] = []
    for (let at = 0; at < 600; at++) {
      const { status } = await call('Bearer a.b.c').catch(() => ({ status: -1 }))
      answers.push(status)
      if (status === 8) break
    }
    expect(answers.at(-1)).to.equal(8)
    // Who was known a moment ago is so still.
    expect(await call(known)).to.include({ status: 14 })
  })
})
