import { expect } from 'chai'
import { agentMetrics } from '../../src/agent/control/metrics.ts'
import { Diagnostics } from '../../src/gen/postern/v1/diagnostics_pb.js'
import { Health } from '../../src/gen/grpc/health/v1/health_pb.js'
import { gatewayMetrics } from '../../src/gateway/control/metrics.ts'
import { eventually } from '../support/eventually.ts'
import { Stack } from '../support/stack.ts'

describe('the metrics of calls', function () {
  let stack: Stack
  before(async () => {
    stack = await Stack.start()
    const allow = [{ caller: 'tester', methods: ['grpc.health.v1.Health/*'], services: [] }]
    await stack.startAgent({ allow: JSON.stringify(allow) })
  })
  after(() => {
    stack.stop()
  })

  it('count each by how it ended, at both ends, with time, bytes, cluster and version', async () => {
    const client = await stack.connect()
    const cluster = client.cluster('c-1')
    for (let i = 0; i < 3; i++) await cluster.service(Health).check({})
    const payload = Buffer.alloc(1000)
    await cluster
      .service(Diagnostics)
      .echo({ payload })
      .catch(() => undefined)
    await client
      .cluster('absent')
      .service(Health)
      .check({})
      .catch(() => undefined)
    const gateway = gatewayMetrics(stack.gateway, stack.clock)
    const has = async (metrics: { text(): Promise<string> }, ...wanted: string[]) => {
      const text = await eventually(async () => {
        const found = await metrics.text()
        return wanted.every((line) => found.includes(`${line}\n`)) ? found : undefined
      }, wanted.join(', '))
      return text
    }
    const text = await has(
      gateway,
      'postern_calls_total{kind="call",status="OK"} 3',
      'postern_calls_total{kind="call",status="PERMISSION_DENIED"} 1',
      'postern_calls_total{kind="call",status="UNAVAILABLE"} 1',
      'postern_call_duration_seconds_bucket{le="+Inf"} 5',
      'postern_call_duration_seconds_count 5',
      'postern_cluster_tunnels{cluster="c-1"} 1',
    )
    expect(text).to.match(
      /postern_build_info\{program="gateway",version="[\d.]+",node="[\d.]+"\} 1/,
    )
    const [, up = '0'] = /bytes_total\{direction="to_agents"\} (\d+)/.exec(text) ?? []
    expect(Number(up)).to.be.within(1000, 2000)
    const [agent] = stack.agents
    if (agent === undefined) throw new Error('no agent')
    await has(
      agentMetrics(agent, stack.clock),
      'postern_calls_total{kind="call",status="OK"} 3',
      'postern_calls_total{kind="call",status="PERMISSION_DENIED"} 1',
      'postern_policy_decisions_total{result="denied"} 1',
    )
  })
})
