import { expect } from 'chai'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { SignJWT, UnsecuredJWT } from 'jose'
import Provider, { type Configuration } from 'oidc-provider'
import { enroll } from '../../src/agent/enrolment/enroll.ts'
import { Authority, USAGE_SERVER } from '../../src/identity/authority.ts'
import { Generations } from '../../src/identity/generations.ts'
import { identityUri } from '../../src/identity/name.ts'
import { getHttps } from '../../src/transport/https-get.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { runToolBeside } from '../support/openssl.ts'

const CLIENT = 'system:serviceaccount:postern:agent'
const SECRET = 'a-secret-of-the-test'
const KEY_ID = 'k1'

/** A certified OpenID provider on loopback, that signs access tokens as JWTs. */
class Issuer {
  readonly server: Server
  readonly url: string
  readonly key: KeyObject

  private constructor(server: Server, url: string, key: KeyObject) {
    this.server = server
    this.url = url
    this.key = key
  }

  static async start(folder: string): Promise<Issuer> {
    const validity = {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e8),
    }
    const root = await Authority.createRoot('issuer root', validity)
    const leaf = await root.issueLeaf({
      commonName: 'issuer',
      uris: [],
      dnsNames: ['localhost'],
      usage: [USAGE_SERVER],
      ...validity,
    })
    writeFileSync(join(folder, 'issuer-ca.pem'), root.certificatePem)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const server = createServer({ cert: leaf.certificatePem, key: leaf.keyPem })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `https://localhost:${String((server.address() as AddressInfo).port)}`
    const provider = new Provider(url, configuration(privateKey))
    server.on('request', provider.callback() as never)
    return new Issuer(server, url, privateKey)
  }

  /** A token of the client-credentials grant (RFC 6749 section 4.4). */
  async token(folder: string): Promise<string> {
    const output = await runToolBeside('curl', [
      '-sS',
      '--cacert',
      join(folder, 'issuer-ca.pem'),
      '-u',
      `${encodeURIComponent(CLIENT)}:${SECRET}`,
      '-d',
      'grant_type=client_credentials&resource=urn:postern',
      `${this.url}/token`,
    ])
    const { access_token: token } = JSON.parse(output) as { access_token?: string }
    if (token === undefined) throw new Error(output)
    return token
  }
}

function configuration(key: KeyObject): Configuration {
  return {
    clients: [
      {
        client_id: CLIENT,
        client_secret: SECRET,
        id_token_signed_response_alg: 'ES256',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: {
      keys: [
        {
          ...(key.export({ format: 'jwk' }) as { kty: string }),
          kid: KEY_ID,
          alg: 'ES256',
          use: 'sig',
        },
      ],
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: 'postern',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    extraTokenClaims: () => ({ 'kubernetes.io': { pod: { name: 'agent-x7f' } } }),
  }
}

describe('joining by the identity of a workload', function () {
  let plane: ControlPlane
  let issuer: Issuer

  before(async () => {
    plane = await ControlPlane.start()
    issuer = await Issuer.start(plane.folder)
    plane.gateway.stop()
    await plane.startGateway({ 'enroll.jwt': JSON.stringify([row()]) })
  })
  after(() => {
    issuer.server.close()
    plane.stop()
  })

  const row = (more: object = {}): object => ({
    cluster: 'k-1',
    issuer: issuer.url,
    audience: 'postern',
    subject: 'system:serviceaccount:postern:*',
    agentClaim: '/kubernetes.io/pod/name',
    caFile: join(plane.folder, 'issuer-ca.pem'),
    ...more,
  })
  let serial = 0
  const join_ = async (token: string) =>
    await enroll(
      {
        gateway: new URL(plane.enrollUrl),
        token,
        pins: [plane.init.pin],
        bundlePem: undefined,
        trustDomain: DOMAIN,
        keyKind: 'p256',
        onStep: () => undefined,
      },
      new Generations(plane.stateOf(`w-${String(++serial)}`)),
      () => Date.now(),
    )
  /** A token of our own making, wrong in one respect. */
  const forged = async (claims: object = {}, key: KeyObject = issuer.key, alg = 'ES256') =>
    await new SignJWT({
      iss: issuer.url,
      aud: 'postern',
      sub: CLIENT,
      exp: Math.floor(Date.now() / 1000) + 300,
      iat: Math.floor(Date.now() / 1000),
      'kubernetes.io': { pod: { name: 'agent-y' } },
      ...claims,
    })
      .setProtectedHeader({ alg, kid: KEY_ID })
      .sign(key)

  it('makes of a token that a real OpenID provider signed an agent of its cluster, named by a claim', async () => {
    const { identity } = await join_(await issuer.token(plane.folder))
    expect(identityUri(identity)).to.equal(`spiffe://${DOMAIN}/cluster/k-1/agent/agent-x7f`)
    const { stdout } = await plane.command('events', '--json')
    expect(stdout).to.include(`${issuer.url} ${CLIENT}`)
  })

  it('can be done again with the same token by a pod that has lost its state', async () => {
    const token = await issuer.token(plane.folder)
    const [first, second] = [await join_(token), await join_(token)]
    expect(identityUri(second.identity)).to.equal(identityUri(first.identity))
  })

  it('refuses what the provider did not sign so: to the client all alike, to the log not', async () => {
    await join_(await forged())
    const { privateKey: other } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const unsigned = new UnsecuredJWT({ iss: issuer.url, aud: 'postern', sub: CLIENT }).encode()
    const shared = await new SignJWT({ iss: issuer.url, aud: 'postern', sub: CLIENT })
      .setProtectedHeader({ alg: 'HS256', kid: KEY_ID })
      .setExpirationTime('5m')
      .sign(Buffer.from(SECRET.padEnd(32, 'x')))
    const wrong: readonly (readonly [string, string, RegExp])[] = [
      ['another key', await forged({}, other), /signature/],
      ['another issuer', await forged({ iss: 'https://localhost:1' }), /no row/],
      ['another audience', await forged({ aud: 'other' }), /"aud"/],
      ['another subject', await forged({ sub: 'system:serviceaccount:other:agent' }), /subject/],
      ['a subject with one part more', await forged({ sub: `${CLIENT}:more` }), /subject/],
      ['expired', await forged({ exp: Math.floor(Date.now() / 1000) - 60 }), /"exp"/],
      ['no expiry', await forged({ exp: undefined }), /"exp"/],
      ['not yet valid', await forged({ nbf: Math.floor(Date.now() / 1000) + 120 }), /"nbf"/],
      ['no claim for the name', await forged({ 'kubernetes.io': {} }), /no claim/],
      [
        'a name that is none',
        await forged({ 'kubernetes.io': { pod: { name: '../x' } } }),
        /no name/,
      ],
      ['a shared secret', shared, /"alg"/],
      ['a subject that is no text', await forged({ sub: { toString: 1 } }), /no texts/],
      ['no time of issue', await forged({ iat: undefined }), /"iat"/],
      ['no signature', `${unsigned}AAAA`, /alg/],
    ]
    const told = new Set<string>()
    for (const [what, token, why] of wrong) {
      const before = plane.log.lines.length
      told.add((await rejection(join_(token), 'TOKEN_REFUSED')).rawMessage)
      const lines = JSON.stringify(plane.log.lines.slice(before).map(({ facts }) => facts.reason))
      expect(lines.replaceAll('\\', ''), what).to.match(why)
      expect(lines).not.to.include(token)
    }
    expect(told.size).to.equal(1)
  })

  it('lets nobody in by a token from before its agent was revoked', async () => {
    const old = await forged({ 'kubernetes.io': { pod: { name: 'gone' } } })
    await join_(old)
    await plane.command('certs', 'revoke', '--cluster', 'k-1', '--agent', 'gone')
    await rejection(join_(old), 'TOKEN_REFUSED')
    const iat = Math.floor(Date.now() / 1000) + 1
    await join_(await forged({ iat, 'kubernetes.io': { pod: { name: 'gone' } } }))
  })

  it('takes keys from a file in place of discovery, and judges its rows at start', async () => {
    const { key } = issuer
    const jwk = { ...key.export({ format: 'jwk' }), kid: KEY_ID, alg: 'ES256', d: undefined }
    const jwksFile = join(plane.folder, 'jwks.json')
    writeFileSync(jwksFile, JSON.stringify({ keys: [jwk] }))
    const own = await ControlPlane.start({
      'enroll.jwt': JSON.stringify([row({ jwksFile, agentClaim: undefined, caFile: undefined })]),
    })
    try {
      const { identity } = await enroll(
        {
          gateway: new URL(own.enrollUrl),
          token: await forged(),
          pins: [own.init.pin],
          bundlePem: undefined,
          trustDomain: DOMAIN,
          keyKind: 'p256',
          onStep: () => undefined,
        },
        new Generations(own.stateOf('w')),
        () => Date.now(),
      )
      expect(identityUri(identity)).to.match(/\/cluster\/k-1\/agent\/agent-[0-9a-f]{8}$/)
    } finally {
      own.stop()
    }
    for (const bad of [
      row({ cluster: 'Not A Name' }),
      row({ subject: '' }),
      row({ agentClaim: 'name' }),
      row({ jwksUrl: 'http://a' }),
      row({ issuer: 'http://a' }),
      row({ jwksUrl: 'https://a', jwksFile: '/a' }),
      row({ surplus: 1 }),
    ]) {
      const flag = JSON.stringify([bad])
      const { status, stderr } = await plane.command('config', 'check', '--enroll-jwt', flag)
      expect([status, stderr]).to.satisfy(
        ([exit, text]: [number, string]) => exit === 78 && text.includes('enroll-jwt'),
      )
    }
  })

  it('says no where the issuer cannot be reached, and asks it again the next time', async () => {
    const own = await ControlPlane.start({
      'enroll.jwt': JSON.stringify([row({ issuer: 'https://localhost:1' })]),
    })
    try {
      const token = await forged({ iss: 'https://localhost:1' })
      for (let i = 0; i < 2; i++) {
        const answer = await runToolBeside('curl', [
          '-sS',
          '--cacert',
          own.bundleFile,
          '-u',
          `token:${token}`,
          '-X',
          'POST',
          '--data-binary',
          'AAAA',
          `${own.enrollUrl}/.well-known/est/simpleenroll`,
        ])
        expect(answer).to.match(/CSR_INVALID|not taken/)
      }
    } finally {
      own.stop()
    }
    await rejection(getHttps(new URL('http://localhost:1'), undefined), 'DIAL_FAILED')
    await rejection(getHttps(new URL(issuer.url), undefined), 'CERT_UNTRUSTED')
  })
})
