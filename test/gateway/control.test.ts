import { expect } from 'chai'
import { gatewayStatus, type GatewayReport } from '../../src/gateway/control/control.ts'
import { gatewayMetrics } from '../../src/gateway/control/metrics.ts'
import { FakeClock } from '../support/fake-clock.ts'

const HOUR_MS = 3_600_000

function reportWith(parts: Partial<GatewayReport> = {}): GatewayReport {
  return {
    isDraining: false,
    hasOwnStoreAmongPeers: false,
    buffers: { reservedBytes: 1, bytesMax: 2 },
    own: { identity: 'spiffe://t/region/r/gateway/g', notAfterMs: 9 * HOUR_MS, rootNotAfterMs: 99 },
    clusters: {
      tunnels: 3,
      agents: 2,
      tunnelsOf: new Map([
        ['c-1', 2],
        ['c-2', 1],
      ]),
      canariesFailing: 0,
      canaryMsMax: undefined,
      servicesDown: 0,
    },
    fronts: [],
    api: { connections: 2, running: 3, callers: 1 },
    callers: {
      callers: 1,
      streams: 5,
      relayed: 70,
      bytes: { toAgents: 10, toCallers: 20 },
      calls: [],
    },
    deferred: 0,
    access: { denials: 4, storeError: undefined },
    ca: undefined,
    enrolment: new Map([['issued', 6]]),
    ...parts,
  }
}

describe('what a gateway tells an operator', () => {
  it('is the sum of the reports of its rooms', () => {
    const status = gatewayStatus(reportWith(), 0, HOUR_MS)
    expect(status).to.include({ health: 'healthy', tunnels: 3, clusters: 2, agents: 2, streams: 5 })
    expect(status.certificate?.expiresInMs).to.equal(8 * HOUR_MS)
  })

  it('is why it is not healthy: a certificate that ends, a store that cannot be used, a drain', () => {
    const access = { denials: 0, storeError: 'the disk is gone' }
    const bad = gatewayStatus(reportWith({ access }), 0, 8.5 * HOUR_MS)
    expect(bad.health).to.equal('degraded')
    expect(bad.reasons).to.have.length(2)
    expect(bad.reasons.join()).to.include('30 min').and.include('the disk is gone')
    const leaving = gatewayStatus(reportWith({ isDraining: true }), 0, 0)
    expect([leaving.health, leaving.reasons.length]).to.deep.equal(['draining', 1])
    const { warnings } = gatewayStatus(reportWith({ hasOwnStoreAmongPeers: true }), 0, 0)
    expect(warnings.join()).to.include('store of its own')
  })

  it('is the same in metrics, with what the store says of certificates', async () => {
    const issued = { byState: new Map([['issued', 2]]), firstEndMs: undefined }
    const gateway = { report: () => reportWith(), reportIssued: () => Promise.resolve(issued) }
    const text = await gatewayMetrics(gateway, new FakeClock()).text()
    expect(text).to.include('postern_cluster_tunnels{cluster="c-1"} 2')
    expect(text).to.include('postern_agent_certificates{state="issued"} 2')
    expect(text).to.include('postern_enrolment_answers_total{result="issued"} 6')
    expect(text).not.to.match(/^postern_canary_latency_seconds_max /m)
  })
})
