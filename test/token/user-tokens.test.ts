import { expect } from 'chai'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, SignJWT, type JWK } from 'jose'
import { LogLimiter } from '../../src/base/log-limiter.ts'
import { Permit } from '../../src/contract/call-guard.ts'
import type { UserIssuer, UserVerdict } from '../../src/contract/user.ts'
import { Guard } from '../../src/guard/guard.ts'
import { UserTokens } from '../../src/token/user-tokens.ts'
import { ask, policy, RecorderInMemory } from '../guard/asks.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { GATEWAY, TestPki } from '../support/pki.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const ISSUER = 'https://idp.test'

describe('tokens of users', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-users-'))
  const file = join(folder, 'jwks.json')
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const row: UserIssuer = {
    ...{ issuer: ISSUER, audience: 'eu-1', jwksUrl: undefined, jwksFile: file, caFile: undefined },
  }
  let jwk: JWK
  let clock: FakeClock
  let log: LogRecorder
  let users: UserTokens
  let serial = 0

  before(async () => {
    jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })
  beforeEach(() => {
    clock = new FakeClock()
    log = new LogRecorder()
    users = new UserTokens(clock, new LogLimiter(log, clock))
    keys([jwk])
  })

  const keys = (list: readonly JWK[]): void => {
    writeFileSync(file, JSON.stringify({ keys: list }))
    utimesSync(file, ++serial, serial)
  }
  const token = (): Promise<string> =>
    new SignJWT({ n: ++serial })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(ISSUER)
      .setAudience('eu-1')
      .setSubject('alice')
      .setIssuedAt(Math.floor(clock.wallMs() / 1000))
      .setExpirationTime(Math.floor(clock.wallMs() / 1000) + 10 * 365 * 86_400)
      .sign(privateKey)
  const said = async (text: string, from = row, caller = 'console'): Promise<string> => {
    const verdict: UserVerdict = await users.verify(text, [from], [], caller)
    return 'fault' in verdict ? verdict.fault : verdict.subject
  }

  it('are worth nothing once their key is taken out of its file', async () => {
    const known = await token()
    expect(await said(known)).to.equal('alice')
    expect(users.verify(known, [row], [], 'console')).to.include({ subject: 'alice' })
    keys([])
    clock.advance(1000)
    expect(await said(known)).to.include('ERR_JWKS_NO_MATCHING_KEY')
    expect(await said(await token())).to.include('ERR_JWKS_NO_MATCHING_KEY')
    keys([jwk])
    clock.advance(1000)
    expect(await said(known)).to.equal('alice')
  })

  it('are verified anew after five minutes, however long they may live', async () => {
    const known = await token()
    await said(known)
    expect(users.verify(known, [row], [], 'console')).to.not.be.instanceOf(Promise)
    clock.advance(300_001)
    expect(users.verify(known, [row], [], 'console')).to.be.instanceOf(Promise)
  })

  it('tell nobody where their issuers are asked: that is for the log', async () => {
    const closed = { ...row, jwksFile: undefined, jwksUrl: 'https://127.0.0.1:9/jwks' }
    const lost = { ...row, jwksFile: join(folder, 'secret-name.json') }
    for (const from of [closed, lost])
      expect(await said(await token(), from)).to.equal(
        'the keys of its issuer cannot be had for the moment',
      )
    const reasons = log.lines.map(({ facts }) => String(facts.reason)).join()
    expect(reasons).to.include('127.0.0.1:9').and.include('secret-name')
  })

  it('have an issuer that fails asked once in thirty seconds, whatever comes', async () => {
    const pki = await TestPki.create()
    const { certificateFile, keyFile, bundleFile } = await pki.issue(GATEWAY)
    let [asked, status] = [0, 500]
    const server = createServer(
      { cert: readFileSync(certificateFile), key: readFileSync(keyFile) },
      (_request, response) => {
        asked++
        response.writeHead(status).end(JSON.stringify({ keys: [jwk] }))
      },
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const url = `https://localhost:${String(port)}`
    try {
      for (const from of [
        { ...row, jwksFile: undefined, jwksUrl: `${url}/jwks`, caFile: bundleFile },
        { ...row, issuer: `${url}/`, jwksFile: undefined, caFile: bundleFile },
      ]) {
        ;[asked, status] = [0, 500]
        for (let i = 0; i < 20; i++) {
          const text =
            from.issuer === ISSUER
              ? await token()
              : await new SignJWT({})
                  .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
                  .setIssuer(from.issuer)
                  .setSubject(String(i))
                  .sign(privateKey)
          expect(await said(text, from)).to.include('cannot be had')
        }
        expect(asked).to.equal(1)
        clock.advance(30_001)
        status = 200
        await said(await token(), from)
      }
      expect(asked).to.be.at.most(2)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('of one caller do not keep those of another waiting', async () => {
    const texts = await Promise.all(Array.from({ length: 12 }, token))
    const own = texts.map((text) => said(text))
    const other = said(await token(), row, 'billing')
    const found = await Promise.all(own)
    expect(found.filter((one) => one === 'alice').length).to.equal(8)
    expect(found.at(-1)).to.include('too many')
    expect(await other).to.equal('alice')
  })

  it('are not looked at for a call that no rule speaks of', async () => {
    const text = `users: { issuers: [{ issuer: "${ISSUER}", audience: eu-1, jwksFile: ${file} }] }\nrules: [{ name: u, callers: [billing], methods: [a.b.Service/Read], user: required }]`
    const ports = { clock, random: new SeededRandom(1), recorder: new RecorderInMemory(), users }
    const guard = new Guard(ports, policy(text))
    const known = ask({ known: 'first-hand' })
    expect(await guard.userOf(await token(), true, known)).to.include({ subject: 'alice' })
    for (const stranger of [ask({ caller: 'evil' }), ask({ name: 'a.b.Service/Other' })])
      expect(guard.userOf(await token(), true, stranger)).to.equal(undefined)
  })

  it('whose issuer the policy takes no more end the calls that stand on them', () => {
    const users_ = (issuers: string, more = ''): string =>
      `users: { issuers: [${issuers}]${more} }\nrules: [{ name: u, callers: ["*"], methods: ["*"], user: required }]`
    const one = (issuer: string): string =>
      `{ issuer: "${issuer}", audience: eu-1, jwksFile: ${file} }`
    const both = `${one('https://a.test')}, ${one('https://b.test')}`
    const ports = { clock, random: new SeededRandom(1), recorder: new RecorderInMemory(), users }
    const guard = new Guard(ports, policy(users_(both, ', sealed: optional')))
    const begin = (issuer: string, known: 'gateway' | 'first-hand'): Permit => {
      const user = { issuer, subject: 'mallory', claims: new Map() }
      const permit = guard.decide({ ...ask({ kind: 'bidi', known }), user })
      if (!Permit.is(permit)) throw new Error(permit.text)
      return permit
    }
    const [gone, open, kept] = [
      begin('https://a.test', 'first-hand'),
      begin('https://b.test', 'gateway'),
      begin('https://b.test', 'first-hand'),
    ]
    guard.use(policy(users_(one('https://b.test'))))
    const codes = [gone, open, kept].map((permit) => permit.pass('in', 1)?.code)
    expect(codes).to.deep.equal(['POLICY_DENIED', 'POLICY_DENIED', undefined])
  })
})
