import { expect } from 'chai'
import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose'
import { policyOf } from '../../src/agent/guard/guard.ts'
import type { RpcError } from '../../src/client.ts'
import { Diagnostics } from '../../src/client.ts'
import { noteText } from '../support/seen.ts'
import { runCli } from '../support/run-cli.ts'
import { CALLER } from '../support/pki.ts'
import { FIRST_HAND, SealedStack } from '../support/sealed-stack.ts'

const ISSUER = 'https://login.example.com'
const AUDIENCE = 'c-1'

interface Said {
  readonly issuer?: string
  readonly audience?: string
  readonly subject?: string
  readonly groups?: unknown
  readonly exp?: string | number
  readonly key?: KeyObject
  readonly alg?: string
  readonly filler?: string
}

describe('users', function () {
  let at: SealedStack
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  beforeEach(async () => {
    at = await SealedStack.start()
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
    writeFileSync(join(at.stack.pki.folder, 'jwks.json'), JSON.stringify({ keys: [jwk] }))
    policy('user: { issuer: https://login.example.com, claims: { groups: [dba, owner] } }')
  })
  afterEach(() => {
    at.stop()
  })

  function policy(user: string, sealed = 'required'): void {
    const keys = join(at.stack.pki.folder, 'jwks.json')
    writeFileSync(
      at.policy,
      `version: 1
users: { sealed: ${sealed}, issuers: [{ issuer: "${ISSUER}", audience: ${AUDIENCE}, jwksFile: "${keys}" }] }
rules: [{ name: for users, callers: ["*"], methods: ["*"], ${user} }]\n`,
    )
    at.agent.guard.use(at.agent.settings, policyOf(at.agent.settings))
  }

  function token(said: Said = {}): Promise<string> {
    const { issuer = ISSUER, audience = AUDIENCE, subject = 'anna', exp = '5m' } = said
    const { groups = ['dba'], key = privateKey, alg = 'ES256', filler } = said
    return new SignJWT({ groups, filler })
      .setProtectedHeader({ alg, kid: 'k1' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(subject)
      .setIssuedAt()
      .setExpirationTime(exp)
      .sign(key)
  }

  const outcome = (userToken?: string): Promise<string> => {
    const options = userToken === undefined ? {} : { userToken }
    return said(at.cluster().service(Diagnostics).echo({}, options))
  }

  const said = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'OK',
      (error: unknown) => (error as RpcError).rawMessage,
    )

  it('are let through by the claims of a token that the policy takes; the record has issuer and subject, and nothing of the token', async () => {
    const good = await token()
    expect(await outcome(good)).to.equal('OK')
    expect(await outcome(good)).to.equal('OK')
    expect(await outcome(await token({ groups: 'owner' }))).to.equal('OK')
    expect(await outcome()).to.include('may not use')
    expect(await outcome(await token({ groups: ['dev'] }))).to.include('may not use')
    at.client.close()
    const lines = at.lines()
    expect(lines[0]?.user).to.deep.equal({ issuer: ISSUER, subject: 'anna' })
    expect(lines.map(({ user }) => user === null)).to.deep.equal([false, false, false, true, false])
    const folder = at.agent.report().guard.record?.directory ?? ''
    const all = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join()
    const log = JSON.stringify(at.stack.log.lines)
    for (const part of good.split('.')) expect(`${all}${log}`).to.not.include(part)
  })

  it('refuses what is expired, foreign, forged, huge, unsigned or no token, each in words that say nothing of it', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const secret = randomBytes(32)
    const unsigned = new UnsecuredJWT({ sub: 'anna', groups: ['dba'] })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime('5m')
      .encode()
    const shared = await new SignJWT({ groups: ['dba'] })
      .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setSubject('anna')
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(secret)
    const [head = '', , tail = ''] = (await token()).split('.')
    const altered = `${head}.${Buffer.from('{"iss":"x","sub":"root"}').toString('base64url')}.${tail}`
    for (const [bad, text] of [
      [await token({ exp: Math.floor(Date.now() / 1000) - 60 }), 'ERR_JWT_EXPIRED'],
      [await token({ audience: 'c-2' }), 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
      [await token({ issuer: 'https://evil.example.com' }), 'none of those that the policy names'],
      [await token({ key: other }), 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED'],
      [await token({ filler: 'x'.repeat(5500) }), 'too long'],
      [await token({ subject: 'an\u0007na' }), 'plain text'],
      [unsigned, 'no signed token'],
      [shared, 'ERR_JOSE_ALG_NOT_ALLOWED'],
      [altered, 'none of those'],
      ['abc', 'no signed token'],
      ['a.b.c', 'no signed token'],
      ['aa.bb.cc', 'is not taken'],
    ] as const) {
      const found = await outcome(bad)
      noteText(found)
      expect(found).to.include('USER_REFUSED')
      expect(found).to.include(text)
      if (bad.length > 20) expect(found).to.not.include(bad.slice(0, 20))
    }
    expect(at.agent.report().guard.allowed).to.equal(0)
  })

  it('are taken on sealed calls only, unless the customer says otherwise', async () => {
    const good = await token()
    const plain = (): Promise<string> =>
      said(at.client.cluster('c-1').service(Diagnostics).echo({}, { userToken: good }))
    expect(await plain()).to.include('on sealed calls only')
    policy('user: required', 'optional')
    expect(await plain()).to.equal('OK')
    writeFileSync(at.policy, FIRST_HAND)
    await at.agent.reload()
    expect(await outcome(good)).to.include('takes no tokens of users')
  })

  it('may be named by their subject; who is not taken out of the list at once', async () => {
    policy('user: { subjects: [anna, bert] }')
    expect(await outcome(await token({ subject: 'bert' }))).to.equal('OK')
    expect(await outcome(await token({ subject: 'eve' }))).to.include('may not use')
    const good = await token()
    expect(await outcome(good)).to.equal('OK')
    policy('user: { subjects: [bert] }')
    expect(await outcome(good)).to.include('may not use')
  })

  it('may act by streams and forwards too, whose bytes wait until the token is judged', async () => {
    const cluster = at.cluster()
    const sent = ['one', 'two', 'three']
    async function* requests(): AsyncGenerator<{ payload: Buffer }> {
      for (const text of sent) yield await Promise.resolve({ payload: Buffer.from(text) })
    }
    const options = { userToken: await token() }
    const heard: string[] = []
    for await (const { payload } of cluster.service(Diagnostics).echoStream(requests(), options))
      heard.push(Buffer.from(payload).toString())
    expect(heard).to.deep.equal(sent)
    const large = Buffer.alloc(500_000, 7)
    const { payload } = await cluster
      .service(Diagnostics)
      .echo({ payload: large }, { userToken: await token() })
    expect(payload.length).to.equal(large.length)
  })

  it('come from a file at the command line, and are tried by policy test', async () => {
    const file = join(at.stack.pki.folder, 'token')
    writeFileSync(file, `${await token()}\n`, { mode: 0o600 })
    const files = await at.stack.pki.issue(CALLER)
    const call = (...more: string[]) =>
      runCli('gateway', [
        ...['call', 'c-1', 'grpc.health.v1.Health/Check', '--trust-domain', CALLER.trustDomain],
        ...['--gateway-address', `127.0.0.1:${String(at.stack.callerPort)}`],
        ...['--gateway-server-name', 'localhost', '--identity-key-file', files.keyFile],
        ...['--identity-certificate-file', files.certificateFile],
        ...['--identity-bundle-file', files.bundleFile, '--user-token-file', file, ...more],
      ])
    const sealed = await call('--sealed', '--seal-key-file', at.key.keyFile, '--pin', at.pin)
    expect(sealed.stdout, sealed.stderr).to.include('SERVING')
    expect((await call()).stderr).to.include('goes with --sealed')
    const test = (...more: string[]) =>
      runCli('agent', [
        ...['policy', 'test', '--caller', 'console', '--policy-file', at.policy],
        ...['--method', 'grpc.health.v1.Health/Check', '--sealed', ...more],
      ])
    const claims = { iss: ISSUER, sub: 'anna', groups: ['dba'] }
    expect((await test('--user', JSON.stringify(claims))).stdout).to.include('ALLOW')
    expect((await test('--user', JSON.stringify({ ...claims, groups: [] }))).status).to.equal(1)
    expect((await test()).stdout).to.include('wants the token of a user')
    expect((await test('--user', '{')).status).to.equal(64)
    const printed = await runCli('agent', ['policy', 'print', '--policy-file', at.policy])
    expect(printed.stdout).to.include(
      'a user of https://login.example.com with /groups dba or owner',
    )
  })
})
