import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { expect } from 'chai'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Tracer } from '../../src/base/tracing.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { Diagnostics, type CallOptions } from '../../src/client.ts'
import { otlpTracer } from '../../src/tracing/otlp.ts'
import { eventually } from '../support/eventually.ts'
import { Fleet } from '../support/fleet.ts'

interface ReceivedSpan {
  traceId: string
  spanId: string
  parentId: string
  name: string
  kind: number
}

type Fields = Map<number, Uint8Array[]>

/** The length-delimited fields of a message, and its numbers. */
function fieldsOf(bytes: Uint8Array): Fields & { numbers?: Map<number, number> } {
  const reader = new BinaryReader(bytes)
  const fields: Fields & { numbers?: Map<number, number> } = new Map()
  fields.numbers = new Map()
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (type === WireType.LengthDelimited)
      fields.set(field, [...(fields.get(field) ?? []), reader.bytes()])
    else if (type === WireType.Varint) fields.numbers.set(field, Number(reader.uint64()))
    else reader.skip(type)
  }
  return fields
}

/** opentelemetry/proto/collector/trace/v1: ResourceSpans, ScopeSpans and Span, as far as is needed. */
function spansOf(request: Uint8Array): ReceivedSpan[] {
  const all = (bytes: Uint8Array, field: number): Uint8Array[] => fieldsOf(bytes).get(field) ?? []
  const spans = all(request, 1)
    .flatMap((resource) => all(resource, 2))
    .flatMap((scope) => all(scope, 2))
  return spans.map((span) => {
    const fields = fieldsOf(span)
    const bytes = (field: number): Buffer => Buffer.from(fields.get(field)?.[0] ?? [])
    return {
      traceId: bytes(1).toString('hex'),
      spanId: bytes(2).toString('hex'),
      parentId: bytes(4).toString('hex'),
      name: bytes(5).toString(),
      kind: fields.numbers?.get(6) ?? 0,
    }
  })
}

describe('spans of calls', function () {
  const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
  const PARENT = '00f067aa0ba902b7'
  let fleet: Fleet
  let collector: Server
  let url: string
  const tracers: Tracer[] = []
  let spans: ReceivedSpan[]
  let bodies: Buffer[]

  beforeEach(async () => {
    spans = []
    bodies = []
    collector = createServer((request, response) => {
      void buffer(request).then((body) => {
        bodies.push(body)
        spans.push(...spansOf(body))
        response.end()
      })
    })
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${String((collector.address() as AddressInfo).port)}/v1/traces`
  })
  afterEach(() => {
    fleet.stop()
    collector.closeAllConnections()
    collector.close()
    tracers.length = 0
  })

  function tracer(service: string, percent: number): Tracer {
    const made = otlpTracer({ url, percent, service })
    tracers.push(made)
    return made
  }

  async function call(options: CallOptions, percent = 100): Promise<void> {
    const ambient = { clock: systemClock, random: systemRandom }
    fleet = await Fleet.start(1, {}, { tracer: tracer('postern-gateway', percent) })
    await fleet.startAgent('a-1', {}, { ...ambient, tracer: tracer('postern-agent', percent) })
    await eventually(() => fleet.at(0).gateway.registry.tunnelCount === 1, 'the tunnel is up')
    const client = await fleet.connect()
    const payload = Buffer.from('not for spans')
    const diagnostics = client.cluster('c-1').service(Diagnostics)
    const answer = await diagnostics.echo({ payload }, options)
    expect(Buffer.from(answer.payload).equals(payload)).to.equal(true)
    await diagnostics.echo({ payload: Buffer.alloc(15_990) }, options)
    for (const one of tracers) await one.close()
  }

  const echoes = (kind: number) =>
    spans.filter(({ name, kind: own }) => name === 'postern.v1.Diagnostics/Echo' && own === kind)

  it('are joined across the tunnel, below that of the caller', async () => {
    await call({ traceparent: `00-${TRACE}-${PARENT}-01` })
    const [relayed] = echoes(3)
    const [served] = echoes(2)
    expect(relayed).to.include({ traceId: TRACE, parentId: PARENT })
    expect(served).to.include({ traceId: TRACE, parentId: relayed?.spanId })
    expect(Buffer.concat(bodies).includes('not for spans')).to.equal(false)
  })

  it('begin a trace where the caller has none', async () => {
    await call({})
    const [relayed] = echoes(3)
    const [served] = echoes(2)
    expect(relayed?.parentId).to.equal('')
    expect(served).to.include({ traceId: relayed?.traceId, parentId: relayed?.spanId })
  })

  it('are not kept where the caller, or chance, has decided against it', async () => {
    await call({ traceparent: `00-${TRACE}-${PARENT}-00` })
    expect(echoes(3).length + echoes(2).length).to.equal(0)
    fleet.stop()
    await call({}, 0)
    expect(echoes(3).length + echoes(2).length).to.equal(0)
  })
})
