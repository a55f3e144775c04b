import { create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { HeartbeatRequestSchema } from '../../src/gen/postern/v1/tunnel_pb.js'
import { judgeHeartbeat } from '../../src/gateway/clusters/heartbeats.ts'
import type { AgentHello } from '../../src/gateway/clusters/hello.ts'

const HELLO = { serviceNames: new Set(['db']) } as unknown as AgentHello

describe('what an agent says in a heartbeat', () => {
  for (const number of [NaN, Infinity, -Infinity, -1, 1e300])
    it(`shows no load or latency of ${String(number)}`, () => {
      const request = create(HeartbeatRequestSchema, {
        services: [{ name: 'db', latencyMs: number }],
        capacity: { cpus: 2, load: number },
      })
      const { services, capacity } = judgeHeartbeat(request, HELLO, 1000)
      const load = capacity?.load ?? NaN
      expect(load).to.be.at.least(0).and.at.most(1_000_000)
      const latencyMs = services[0]?.latencyMs
      if (number !== 1e300) expect(latencyMs).to.equal(undefined)
    })

  it('keeps what is an amount', () => {
    const request = create(HeartbeatRequestSchema, {
      services: [{ name: 'db', latencyMs: 1.5 }],
      capacity: { cpus: 2, load: 0.25 },
    })
    const { services, capacity } = judgeHeartbeat(request, HELLO, 1000)
    expect(services[0]?.latencyMs).to.equal(1.5)
    expect(capacity?.load).to.equal(0.25)
  })
})
