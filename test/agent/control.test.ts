import { EMPTY_POLICY } from '../../src/guard/rule.ts'
import { TypeCounts } from '../../src/guard/type-counts.ts'
import { expect } from 'chai'
import { agentMetrics } from '../../src/agent/control/metrics.ts'
import {
  agentStatus,
  offersBeforeEnrolment,
  type AgentReport,
} from '../../src/agent/control/control.ts'
import { messageJson } from '../../src/cli/place/place.ts'
import { AgentStatusSchema } from '../../src/gen/postern/v1/agent_control_pb.js'
import type { TunnelReport } from '../../src/agent/tunnels/tunnels.ts'
import { codeOf } from '../support/code-of.ts'
import { FakeClock } from '../support/fake-clock.ts'

const DOWN: TunnelReport = {
  state: 'backoff',
  sinceMs: undefined,
  address: 'gw:7443',
  via: undefined,
  gateway: undefined,
  region: undefined,
  gatewayVersion: undefined,
  welcomedBy: undefined,
  tlsVersion: undefined,
  cipher: undefined,
  keyExchange: undefined,
  rttMs: undefined,
  streams: 0,
  bytesIn: 0,
  bytesOut: 0,
  nextTryAtMs: 5000,
  attempt: 3,
}
const UP: TunnelReport = { ...DOWN, state: 'ready', sinceMs: 1000, welcomedBy: 'g', gateway: 'g' }

function reportWith(parts: Partial<AgentReport>): AgentReport {
  return {
    startedAtMs: 0,
    buffers: { reservedBytes: 1, bytesMax: 2 },
    health: { health: 'down', sinceMs: 0, reasons: [] },
    credential: {
      identity: 'spiffe://t/cluster/c/agent/a',
      notBeforeMs: 0,
      notAfterMs: 10_000,
      renewalError: undefined,
      bundleVersion: 4,
      roots: 2,
    },
    changes: { clockSkewMs: undefined, diagnosis: undefined, renewal: undefined },
    services: {
      running: 0,
      endedByStatus: [5],
      calls: [],
      services: [],
      dataPlane: [],
      backends: [],
    },
    seal: { sessions: 0, pin: '', pins: 0, authorities: 0 },
    guard: {
      policy: EMPTY_POLICY,
      pushes: [],
      lockdown: undefined,
      tellsLockdown: false,
      allowed: 7,
      denied: 2,
      observed: 0,
      byType: new TypeCounts().byType,
      budgets: [],
      record: undefined,
    },
    tunnels: {
      ways: { ways: [], connector: undefined },
      wanted: 2,
      up: 0,
      main: DOWN,
      all: [DOWN],
      lastError: undefined,
    },
    notices: { warnings: [], canaries: new Map() },
    events: [],
    ...parts,
  }
}

describe('what an agent tells an operator', () => {
  const json = (report: AgentReport): Record<string, unknown> =>
    messageJson(AgentStatusSchema, agentStatus(report, 4000))

  it('is the sum of the reports of its rooms; what is absent is null', () => {
    const told = json(reportWith({}))
    expect(told).to.deep.include({
      health: 'down',
      tunnelsWanted: 2,
      diagnosis: null,
      lastError: null,
      trust: { bundleVersion: 4, roots: 2 },
      clock: { skewMs: null },
      calls: { running: 0, allowed: 7, denied: 2, byStatus: { OK: 5 } },
    })
    expect(told.certificate).to.deep.include({ expiresInMs: 6000, renewsAt: null })
    expect(told.tunnel).to.deep.include({
      state: 'backoff',
      since: null,
      nextTryAt: '1970-01-01T00:00:05.000Z',
      attempt: 3,
    })
  })

  it('joins a tunnel with the canary calls of the gateway that welcomed it', () => {
    const canary = { atMs: 2000, intervalMs: 1000, latencyMs: undefined, failures: 1 }
    const notices = { warnings: [], canaries: new Map([['g', canary]]) }
    const ways = { ways: [], connector: undefined }
    const tunnels = { ways, wanted: 1, up: 1, main: UP, all: [UP, DOWN], lastError: undefined }
    const told = json(reportWith({ notices, tunnels })) as { tunnels: { canary: unknown }[] }
    expect(told.tunnels.map((one) => one.canary)).to.deep.equal([
      { at: '1970-01-01T00:00:02.000Z', latencyMs: null, failures: 1 },
      null,
    ])
  })

  it('is the same in metrics', async () => {
    const renewal = { dueAtMs: 9000, succeeded: 3, failed: 1 }
    const changes = { clockSkewMs: 500, diagnosis: undefined, renewal }
    const tunnels = { carrierMetrics: () => Promise.resolve('') }
    const agent = { tunnels, report: () => reportWith({ changes }) }
    const text = await agentMetrics(agent, new FakeClock()).text()
    expect(text).to.include('postern_certificate_renewals_total{result="succeeded"} 3')
    expect(text).to.include('postern_policy_decisions_total{result="denied"} 2')
    expect(text).to.include('postern_clock_skew_seconds 0.5')
    expect(text).to.include('postern_tunnel_up 0')
    const bare = await agentMetrics(
      {
        tunnels: { carrierMetrics: () => Promise.resolve('') },
        report: () => reportWith({}),
      },
      new FakeClock(),
    ).text()
    expect(bare).not.to.match(/^postern_clock_skew_seconds /m)
    expect(bare).not.to.match(/^postern_certificate_renewal_timestamp_seconds /m)
  })

  it('is NOT_ENROLLED, with the reason, before there is an identity', () => {
    let reason = 'it has just started'
    const offers = offersBeforeEnrolment(() => reason)
    expect(offers.length).to.equal(7)
    reason = 'the token is used up'
    const renew = offers.find(({ name }) => name.endsWith('/WatchStatus'))
    const { handler } = renew ?? {}
    if (handler?.kind !== 'serverStream') throw new Error('it is no stream')
    const ask = () => handler.handle(new Uint8Array(), { permit: {} } as never)
    expect(codeOf(ask, 'NOT_ENROLLED').message).to.include('the token is used up')
  })
})
