import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { request as startRequest } from 'node:https'
import { PosternError } from '../../src/base/errors.ts'
import { ApiStack } from '../support/api-stack.ts'
import { freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'

const same = (bytes: Buffer): Buffer => bytes
const DEAD_ISSUER = 'https://dead.example.com'
const RULES = `rules:
  - {name: echo, callers: ["*", "*@token"], methods: ["test.v1.Echo/Unary", "test.v1.Echo/Never", "acme.v1.Jobs/*"]}
  - {name: few, callers: ["*"], methods: ["grpc.health.v1.Health/Check"], budget: {calls: 1/day}}
`
/** The rows of docs/CALLING.md, "What a call that fails says", by what happened. */
const TABLE = new Map(
  readFileSync(new URL('../../docs/CALLING.md', import.meta.url), 'utf8')
    .split('| what happened | gRPC status')[1]!
    .split('\n\n')[0]!
    .split('\n')
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, what = '', grpc = '', http = '']) => [what, { grpc, http }]),
)

interface Asked {
  readonly method?: string
  readonly body?: Buffer
  readonly fields?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  readonly hasToken?: boolean
  /** Done once the call runs at the agent. */
  readonly meanwhile?: () => void
}

/** An unsigned token is read as far as its issuer. */
const tokenOf = (issuer: string): string => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: issuer, aud: 'api', sub: 'anna', iat: 1, exp: 9_999_999_999 }
  return [part({ alg: 'ES256', kid: 'k' }), part(claims), 'AAAA'].join('.')
}

describe('what a call that fails says', function () {
  let at: ApiStack
  const told = new Set<string>()

  const start = async (): Promise<void> => {
    const dead = `https://127.0.0.1:${String(await freePort())}/jwks`
    const issuers = [{ issuer: DEAD_ISSUER, audience: 'api', jwksUrl: dead }]
    const methods = [{ name: 'acme.v1.Jobs/Get', dataType: 'metric' }]
    const target = `grpc://127.0.0.1:${String(await freePort())}`
    at = await ApiStack.start(
      {
        'api.tokenListen': '127.0.0.1:0',
        'api.issuers': JSON.stringify(issuers),
        'drain.grace': '500ms',
      },
      ['cost'],
      { rules: RULES, flags: { services: JSON.stringify([{ name: 'acme', target, methods }]) } },
    )
  }
  beforeEach(start)
  afterEach(() => {
    at.stop()
  })

  const running = (): number => at.stack.agents[0]?.services.server.runningCount ?? 0
  const started = async ({ meanwhile }: Asked): Promise<void> => {
    if (meanwhile === undefined) return
    await eventually(() => running() > 0, 'it runs')
    meanwhile()
  }

  async function byGrpc(asked: Asked): Promise<string> {
    const { ca, key, cert } = at.tls
    const [pemKey, pemCert] = asked.hasToken === true ? [] : [Buffer.from(key), Buffer.from(cert)]
    const ssl = credentials.createSsl(Buffer.from(ca), pemKey, pemCert)
    const port = asked.hasToken === true ? at.tokenPort : at.port
    const client = new Client(`localhost:${String(port)}`, ssl)
    const metadata = new Metadata()
    for (const [name, value] of Object.entries({ 'postern-cluster': 'c-1', ...asked.fields }))
      if (value !== '') metadata.set(name, value)
    const { method = 'Unary', body = Buffer.from('x'), timeoutMs } = asked
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs }
    const path = method.includes('/') ? `/${method}` : `/test.v1.Echo/${method}`
    const answer = new Promise<string>((resolve) => {
      const done = (error: ServiceError | null): void => {
        resolve(error === null ? 'OK' : `${status[error.code]} ${error.details}`)
      }
      client.makeUnaryRequest(path, same, same, body, metadata, options, done)
    })
    await started(asked)
    const said = await answer
    client.close()
    return said
  }

  async function byConnect(asked: Asked, more: object = {}): Promise<number> {
    const { method = 'Unary', body = Buffer.from('x'), fields, timeoutMs, hasToken } = asked
    const { ca, cert, key } = at.tls
    const path = method.includes('/') ? `/${method}` : `/test.v1.Echo/${method}`
    const headers = { 'content-type': 'application/proto', 'postern-cluster': 'c-1', ...fields }
    const kept = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''))
    const answer = new Promise<number>((resolve, reject) => {
      const call = startRequest({
        ...{ host: 'localhost', port: hasToken === true ? at.tokenPort : at.port, ca, path },
        ...(hasToken === true ? {} : { cert, key }),
        ...{ method: 'POST', agent: false, ...more },
        headers: {
          ...kept,
          ...(timeoutMs === undefined ? {} : { 'connect-timeout-ms': String(timeoutMs) }),
        },
      })
      call.on('error', reject)
      call.on('response', (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      call.end(body)
    })
    await started(asked)
    return await answer
  }

  /** The row says status and codes; the text that a client gets begins with one of these. */
  async function expectRow(what: string, asked: Asked | (() => Promise<Asked>)): Promise<void> {
    const row = TABLE.get(what)
    if (row === undefined) throw new Error(`docs/CALLING.md has no row: ${what}`)
    told.add(what)
    const next = async (): Promise<Asked> => (typeof asked === 'function' ? await asked() : asked)
    const [name = '', ...codes] = row.grpc.split(/, | or /).map((part) => part.replaceAll('`', ''))
    const said = await byGrpc(await next())
    expect(said.split(' ')[0], said).to.equal(name)
    if (codes.length > 0)
      expect(
        codes.some((code) => said.includes(code)),
        said,
      ).to.equal(true)
    expect(String(await byConnect(await next()))).to.equal(row.http)
  }

  it('of clusters, methods and rules', async () => {
    await expectRow('no cluster named, or by a name that can be none', {
      fields: { 'postern-cluster': '' },
    })
    await expectRow('no tunnel of the cluster, or no role that speaks of it', {
      fields: { 'postern-cluster': 'c-9' },
    })
    await expectRow("no role, or no rule of the customer's, allows it", {
      method: 'postern.v1.Diagnostics/Echo',
    })
    await expectRow('the cluster offers no such method', { method: 'Nothing' })
    const few = { method: 'grpc.health.v1.Health/Check', body: Buffer.alloc(0) }
    expect(await byGrpc(few)).to.equal('OK')
    await expectRow('a budget of the policy is used up', few)
  })

  it('of a cluster that is locked down', async () => {
    at.stack.agents[0]?.guard.guard.lockDown('now')
    await expectRow('locked down by the customer', {})
  })

  it('of a service that is down', async () => {
    await eventually(
      () => at.stack.agents[0]?.services.report().services[0]?.health?.isDown,
      'the agent has seen it',
    )
    await expectRow('the service behind the agent is down', { method: 'acme.v1.Jobs/Get' })
  })

  it('of messages and deadlines', async () => {
    await expectRow('a message is too large', { body: Buffer.alloc(5 * 1024 * 1024) })
    await expectRow('the deadline passed', { method: 'Never', timeoutMs: 300 })
  })

  it('of tokens', async () => {
    await expectRow('a token is missing, bad or has ended', { hasToken: true })
    const authorization = `Bearer ${tokenOf(DEAD_ISSUER)}`
    await expectRow("the keys of a token's issuer cannot be had", {
      ...{ hasToken: true, fields: { authorization } },
    })
  })

  it('of tunnels that are lost, and of a gateway that drains', async () => {
    const anew = async (meanwhile: () => void): Promise<Asked> => {
      at.stop()
      await start()
      return { method: 'Never', meanwhile }
    }
    const cut = (): void => {
      for (const { connection } of at.stack.gateway.registry.clusters.get('c-1') ?? [])
        connection.close(new PosternError('CONNECTION_LOST', 'the network is gone'))
    }
    await expectRow('the tunnel was lost under it', () => anew(cut))
    const drain = (): void => void at.stack.gateway.drain()
    await expectRow('the gateway drains', () => anew(drain))
  })

  it('of what is no call', async () => {
    const what = 'a content type of no protocol; another method than POST; gRPC over HTTP/1.1'
    told.add(what)
    expect(TABLE.get(what)?.grpc).to.equal('HTTP 415; 405; 505')
    expect(await byConnect({ fields: { 'content-type': 'text/plain' } })).to.equal(415)
    expect(await byConnect({}, { method: 'PUT' })).to.equal(405)
    expect(await byConnect({ fields: { 'content-type': 'application/grpc' } })).to.equal(505)
  })

  after(() => {
    expect([...told]).to.have.members([...TABLE.keys()])
  })
})
