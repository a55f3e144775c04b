import { expect } from 'chai'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Metrics, type Client } from '../../src/client.ts'
import { eventually } from '../support/eventually.ts'
import { PrometheusServer } from '../support/prometheus-server.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'

describe('metrics', function () {
  let stack: Stack
  let prometheus: PrometheusServer
  let metrics: Client<typeof Metrics>

  before(async () => {
    prometheus = await PrometheusServer.start()
  })
  after(() => {
    prometheus.stop()
  })
  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
  })

  const start = async (more: object = {}): Promise<void> => {
    const row = {
      ...{ name: 'cluster', url: prometheus.url, metrics: ['up', 'prometheus_*'] },
      ...{ labels: { namespace: ['team-a'] }, ...more },
    }
    await stack.startAgent({ prometheus: JSON.stringify([row]) })
    metrics = (await stack.connect()).cluster('c-1').service(Metrics)
  }
  const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(() => 'it passed', reasonOfError)
  const source = 'cluster'

  it('come from a real Prometheus, of one namespace alone', async () => {
    await start()
    const now = await metrics.query({ source, query: 'up' })
    expect(now.kind).to.equal('vector')
    expect(now.series.map(({ labels, values }) => [labels.namespace, values])).to.deep.equal([
      ['team-a', [1]],
    ])
    const scalar = await metrics.query({ source, query: 'scalar(count(up)) + 41' })
    expect([scalar.kind, scalar.series[0]?.values]).to.deep.equal(['scalar', [42]])
    const endMs = Date.now()
    const span = { start: timestampFromMs(endMs - 10_000), end: timestampFromMs(endMs) }
    const query = 'max by (namespace) (rate(prometheus_http_requests_total[5m])) * 0'
    const range = await metrics.queryRange({
      source,
      query: `${query} or up`,
      ...span,
      stepMs: 1000,
    })
    expect(range.series.length).to.be.above(0)
    for (const one of range.series) expect(one.labels.namespace).to.equal('team-a')
    expect(range.series[0]?.atMs.length).to.equal(range.series[0]?.values.length)
    const listed = await metrics.series({ source, match: ['up{namespace=~".*"}'] })
    expect(listed.series.map(({ labels }) => labels.namespace)).to.deep.equal(['team-a'])
    const { values } = await metrics.labels({ source, label: 'namespace' })
    expect(values).to.deep.equal(['team-a'])
    const names = await metrics.labels({ source, label: '__name__' })
    expect(names.values.every((one) => one === 'up' || one.startsWith('prometheus_'))).to.equal(
      true,
    )
    expect((await metrics.labels({ source, match: ['up'] })).values).to.include('job')
  })

  it('are refused beyond what the settings let be seen, and before anything is asked', async () => {
    await start()
    const endMs = Date.now()
    const span = { start: timestampFromMs(endMs - 86_400_000), end: timestampFromMs(endMs) }
    const query = 'up'
    expect(await reasonOf(metrics.query({ source, query: 'go_goroutines' }))).to.include(
      'QUERY_REFUSED',
    )
    expect(await reasonOf(metrics.query({ source: 'x', query }))).to.include('SOURCE_UNKNOWN')
    expect(await reasonOf(metrics.queryRange({ source, query, ...span, stepMs: 0 }))).to.include(
      'moments',
    )
    expect(await reasonOf(metrics.queryRange({ source, query, ...span, stepMs: 1 }))).to.include(
      'moments',
    )
    expect(await reasonOf(metrics.queryRange({ source, query, stepMs: 1000 }))).to.include(
      'go together',
    )
    const long = { ...span, start: timestampFromMs(endMs - 40 * 86_400_000) }
    expect(
      await reasonOf(metrics.queryRange({ source, query, ...long, stepMs: 600_000 })),
    ).to.include('longer')
    const turned = { start: span.end, end: span.start }
    expect(
      await reasonOf(metrics.queryRange({ source, query, ...turned, stepMs: 1000 })),
    ).to.include('behind')
    expect(await reasonOf(metrics.series({ source, match: [] }))).to.include('name a match')
    expect(await reasonOf(metrics.series({ source, match: ['sum(up)'] }))).to.include('selector')
    expect(await reasonOf(metrics.labels({ source, label: '../../admin' }))).to.include('no name')
    expect(
      await reasonOf(metrics.labels({ source, match: Array(21).fill('up') as string[] })),
    ).to.include('20')
    // What Prometheus alone can see to be wrong it says itself, and its words go nowhere.
    const wrong = await reasonOf(metrics.query({ source, query: 'rate(up)' }))
    expect(wrong).to.match(
      /^QUERY_REFUSED: source cluster: it does not take the query; id [0-9a-f]{8}$/,
    )
    expect(JSON.stringify(stack.log.lines)).to.not.include('rate(')
  })

  it('of an answer over the bound, a source that lies, and one that is gone are told apart', async () => {
    await start({ bytesMax: '1KiB' })
    const query = 'prometheus_http_request_duration_seconds_bucket'
    expect(await reasonOf(metrics.query({ source, query }))).to.include('BACKEND_REFUSED')
    for (const agent of stack.agents) agent.stop()
    let answer = ''
    let status = 200
    const liar: Server = createServer((_request, response) => {
      response.writeHead(status).end(answer)
    }).listen(0, '127.0.0.1')
    await once(liar, 'listening')
    const { port } = liar.address() as AddressInfo
    await start({ url: `http://127.0.0.1:${String(port)}` })
    const data = (one: unknown): string => JSON.stringify({ status: 'success', data: one })
    for (const text of [
      ...['', 'null', '[]', '<html>', '{"status":"success"}', '{"status":"error","data":{}}'],
      ...[
        null,
        5,
        [],
        {},
        { resultType: 'x', result: [] },
        { resultType: 'vector', result: {} },
      ].map(data),
      ...[[1, 2], ['a', '1'], [1, 'x'], [1], null].map((value) =>
        data({ resultType: 'vector', result: [{ metric: {}, value }] }),
      ),
      data({ resultType: 'vector', result: [{ metric: { a: 1 }, value: [1, '1'] }] }),
      data({ resultType: 'matrix', result: [{ metric: {}, values: [[1e300, '1'], 'x'] }] }),
    ]) {
      answer = text
      expect(await reasonOf(metrics.query({ source, query: 'up' })), text).to.include(
        'BACKEND_REFUSED',
      )
    }
    answer = data({ resultType: 'vector', result: [{ metric: {}, histogram: [1, {}] }] })
    expect(await metrics.query({ source, query: 'up' })).to.deep.include({ histogramsLeftOut: 1 })
    answer = data({ resultType: 'vector', result: [{ metric: {}, value: [1.5, '-Inf'] }] })
    expect((await metrics.query({ source, query: 'up' })).series[0]?.values).to.deep.equal([
      -Infinity,
    ])
    status = 401
    expect(await reasonOf(metrics.query({ source, query: 'up' }))).to.include('CREDENTIALS_MISSING')
    liar.close()
    expect(await reasonOf(metrics.query({ source, query: 'up' }))).to.include('BACKEND_UNREACHABLE')
  })

  it('of a call that is cancelled or late are asked for no longer', async () => {
    const ended: string[] = []
    const slow: Server = createServer((request, response) => {
      let body = ''
      request.on('data', (piece: Buffer) => (body += piece.toString()))
      response.on('close', () => ended.push(new URLSearchParams(body).get('timeout') ?? ''))
    }).listen(0, '127.0.0.1')
    await once(slow, 'listening')
    const { port } = slow.address() as AddressInfo
    await start({ url: `http://127.0.0.1:${String(port)}` })
    const given = new AbortController()
    const gone = reasonOf(metrics.query({ source, query: 'up' }, { signal: given.signal }))
    await new Promise((resolve) => setTimeout(resolve, 200))
    given.abort()
    expect(await gone).to.include('cancelled')
    await eventually(() => ended.length === 1, 'the request has ended')
    await reasonOf(metrics.query({ source, query: 'up' }, { timeoutMs: 1500 }))
    await eventually(() => ended.length === 2, 'the request has ended')
    expect(ended[0]).to.equal('30000ms')
    expect(Number.parseInt(ended[1] ?? '', 10)).to.be.within(1000, 1500)
    slow.close()
  })
})
