import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf'
import { createClient, ConnectError, Code, type Transport } from '@connectrpc/connect'
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node'
import {
  BytesValueSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt'
import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from '../../src/gen/grpc/health/v1/health_pb.js'
import { ApiStack } from '../support/api-stack.ts'

const run = promisify(execFile)
const BYTES = '.google.protobuf.BytesValue'

/** `test.v1.Echo` as a caller knows it. */
function echoService(): DescService {
  const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
    ...{ name, clientStreaming, serverStreaming, inputType: BYTES, outputType: BYTES },
  })
  const file = create(FileDescriptorProtoSchema, {
    ...{ name: 'test/v1/echo.proto', package: 'test.v1', syntax: 'proto3' },
    dependency: ['google/protobuf/wrappers.proto'],
    service: [
      {
        name: 'Echo',
        method: [
          method('Unary', false, false),
          method('Many', false, true),
          method('Both', true, true),
          method('Sum', true, false),
        ],
      },
    ],
  })
  const registry = createFileRegistry(file, () => file_google_protobuf_wrappers.proto)
  return registry.getService('test.v1.Echo') as DescService
}

const ECHO = echoService()

/** The calls of the service, as its description says at run time. */
interface EchoClient {
  unary(request: object, options?: object): Promise<{ value: Uint8Array }>
  many(request: object, options?: object): AsyncIterable<{ value: Uint8Array }>
  both(requests: AsyncIterable<object>, options?: object): AsyncIterable<{ value: Uint8Array }>
}

describe('Connect and gRPC-Web at the gateway', function () {
  let at: ApiStack
  before(async () => {
    at = await ApiStack.start({ 'api.origins': '["https://app.example.com"]' })
  })
  after(() => {
    at.stop()
  })

  const headers = { 'postern-cluster': 'c-1' }
  const transports: Readonly<Record<string, () => Transport>> = {
    'Connect over HTTP/2': () => createConnectTransport(base('2')),
    'Connect over HTTP/1.1': () => createConnectTransport(base('1.1')),
    'gRPC-Web over HTTP/2': () => createGrpcWebTransport(base('2')),
    'gRPC-Web over HTTP/1.1': () => createGrpcWebTransport(base('1.1')),
    'gRPC, from connect-es': () => createGrpcTransport(base('2')),
  }
  const base = (httpVersion: '1.1' | '2') => ({
    ...{ baseUrl: `https://localhost:${String(at.port)}`, httpVersion, nodeOptions: at.tls },
  })

  for (const [name, transport] of Object.entries(transports)) {
    it(`calls, with metadata both ways: ${name}`, async () => {
      const client = createClient(ECHO, transport()) as unknown as EchoClient
      let head: Headers | undefined
      let tail: Headers | undefined
      const value = Buffer.from('hello'.repeat(1000))
      const answer = await client.unary(create(BytesValueSchema, { value }), {
        headers: { ...headers, tenant: 'acme' },
        onHeader: (told: Headers) => (head = told),
        onTrailer: (told: Headers) => (tail = told),
      })
      expect(Buffer.from(answer.value).equals(value)).to.equal(true)
      expect(head?.get('served-by')).to.equal('acme')
      expect(tail?.get('cost')).to.equal('7')
    })

    it(`streams answers: ${name}`, async () => {
      const client = createClient(ECHO, transport()) as unknown as EchoClient
      const got: string[] = []
      let tail: Headers | undefined
      const onTrailer = (told: Headers) => (tail = told)
      for await (const { value } of client.many(
        { value: Buffer.from('x') },
        { headers, onTrailer },
      ))
        got.push(Buffer.from(value).toString())
      expect(got).to.deep.equal(['x', 'x', 'x'])
      expect(tail?.get('cost')).to.equal('7')
    })

    it(`tells failures with status, text and metadata: ${name}`, async () => {
      const client = createClient(ECHO, transport()) as unknown as EchoClient
      const call = client.unary({ value: Buffer.from('fail') }, { headers })
      const error = await call.catch((cause: unknown) => cause)
      expect(error).to.be.instanceOf(ConnectError)
      const { code, rawMessage, metadata } = error as ConnectError
      expect([code, rawMessage]).to.deep.equal([Code.FailedPrecondition, 'as you wish: 100 % é'])
      expect(metadata.get('cost')).to.equal('3')
      const [detail] = (error as ConnectError).details as { type: string; value: Uint8Array }[]
      expect([detail?.type, Buffer.from(detail?.value ?? []).toString('hex')]).to.deep.equal([
        'test.v1.Why',
        '0102',
      ])
      const stream = (async () => {
        for await (const one of client.many({ value: Buffer.from('fail') }, { headers }))
          expect(Buffer.from(one.value).toString()).to.equal('fail')
      })()
      expect(await stream.catch((cause: unknown) => cause)).to.include({
        code: Code.FailedPrecondition,
      })
    })

    it(`calls what Postern itself offers: ${name}`, async () => {
      const { status } = await createClient(Health, transport()).check({}, { headers })
      expect(status).to.equal(HealthCheckResponse_ServingStatus.SERVING)
    })

    it(`keeps deadlines: ${name}`, async () => {
      const client = createClient(ECHO, transport()) as unknown as EchoClient
      const never = (async function* () {
        await new Promise(() => undefined)
        yield {}
      })()
      if (name.includes('1.1')) return
      const call = (async () => {
        for await (const one of client.both(never, { headers, timeoutMs: 200 }))
          expect(one).to.equal(undefined)
      })()
      expect(await call.catch((cause: unknown) => cause)).to.include({
        code: Code.DeadlineExceeded,
      })
    })
  }

  /** `curl`, with the caller's certificate; what it prints, and the status of HTTP. */
  async function curl(...words: readonly string[]): Promise<{ text: string; status: number }> {
    const { certificateFile, keyFile, bundleFile } = at.files
    const tls = ['--cacert', bundleFile, '--cert', certificateFile, '--key', keyFile]
    const { stdout } = await run('curl', ['-s', ...tls, '-w', '\n%{http_code}', ...words])
    const lines = stdout.split('\n')
    return { text: lines.slice(0, -1).join('\n'), status: Number(lines.at(-1)) }
  }
  const url = (path: string): string => `https://localhost:${String(at.port)}${path}`
  const json = ['-H', 'content-type: application/json', '-H', 'postern-cluster: c-1']

  it('takes JSON, as curl sends it, over both versions of HTTP', async () => {
    for (const version of ['--http1.1', '--http2']) {
      const { text, status } = await curl(
        version,
        ...json,
        '-d',
        '{}',
        url('/grpc.health.v1.Health/Check'),
      )
      expect([status, JSON.parse(text)]).to.deep.equal([200, { status: 'SERVING' }])
    }
  })

  it('says what is wrong with JSON, and repeats none of it', async () => {
    const check = url('/grpc.health.v1.Health/Check')
    for (const body of ['{"secret-word":1}', '{', '[]', '"secret-word"']) {
      const { text, status } = await curl(...json, '-d', body, check)
      expect(status, body).to.equal(400)
      expect(text).to.include('invalid_argument').and.not.include('secret-word')
    }
    const { status, text } = await curl(...json, '-d', '{}', url('/test.v1.Echo/Unary'))
    expect([status, text]).to.deep.equal([
      501,
      '{"code":"unimplemented","message":"test.v1.Echo/Unary has no description here: JSON needs one, protobuf does not"}',
    ])
  })

  for (const [what, words, status] of [
    ['another method than POST', ['-X', 'GET', ...json], 405],
    ['a content type of no protocol', ['-H', 'content-type: text/plain', '-d', 'x'], 415],
    ['gRPC over HTTP/1.1', ['--http1.1', '-H', 'content-type: application/grpc', '-d', 'x'], 505],
    [
      'another host than that of the connection',
      [...json, '-H', 'host: other.example.com', '-d', '{}'],
      421,
    ],
    ['no cluster', ['-H', 'content-type: application/json', '-d', '{}'], 400],
    [
      'a cluster that can be none',
      ['-H', 'content-type: application/json', '-H', 'postern-cluster: A B', '-d', '{}'],
      400,
    ],
    [
      'a cluster that nobody knows',
      ['-H', 'content-type: application/json', '-H', 'postern-cluster: c-9', '-d', '{}'],
      503,
    ],
    ['a deadline of no form', [...json, '-H', 'connect-timeout-ms: soon', '-d', '{}'], 400],
    ['a compression that is not known', [...json, '-H', 'content-encoding: br', '-d', '{}'], 501],
  ] as const)
    it(`answers ${String(status)} to ${what}`, async () => {
      const answer = await curl(...words, url('/grpc.health.v1.Health/Check'))
      expect(answer.status, answer.text).to.equal(status)
    })

  it('answers 404 to a path that is no method', async () => {
    for (const path of ['/', '/a', '/a/b/c', '/a.B/', '/a.B/C?x=1', '/%61.B/C'])
      expect((await curl(...json, '-d', '{}', url(path))).status, path).to.equal(404)
  })

  it('lets pages of the origins that are named call, and no others', async () => {
    const ask = (origin: string) =>
      curl(
        ...['-i', '-X', 'OPTIONS', '-H', `origin: ${origin}`],
        ...['-H', 'access-control-request-method: POST'],
        ...['-H', 'access-control-request-headers: content-type,postern-cluster'],
        url('/grpc.health.v1.Health/Check'),
      )
    const good = await ask('https://app.example.com')
    expect(good.status).to.equal(204)
    expect(good.text).to.include('access-control-allow-origin: https://app.example.com')
    expect(good.text).to.include('access-control-allow-headers: content-type,postern-cluster')
    const bad = await ask('https://app.example.org')
    expect(bad.status).to.equal(403)
    expect(bad.text).to.not.include('access-control')
    const answered = await curl(
      '-i',
      '-H',
      'origin: https://app.example.com',
      ...json,
      '-d',
      '{}',
      url('/grpc.health.v1.Health/Check'),
    )
    expect(answered.text).to.include('access-control-allow-origin: https://app.example.com')
  })
})
