import { expect } from 'chai'
import { join } from 'node:path'
import type { RpcError } from '../../src/client.ts'
import {
  Cluster,
  file_postern_dataplane_v1_cluster,
} from '../../src/gen/postern/dataplane/v1/cluster_pb.js'
import { clusterJson } from '../../src/cli/caller/clusters-json.ts'
import { listText, showText } from '../../src/cli/caller/clusters-text.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

const SERVICE = { name: 'db', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' }

describe('the record of a cluster', () => {
  const stacks: Stack[] = []
  const started = async (): Promise<Stack> => {
    const stack = await Stack.start()
    stacks.push(stack)
    stack.gateway.stop()
    await stack.startGateway({ 'records.file': join(stack.pki.folder, 'records.db') })
    return stack
  }
  afterEach(() => {
    for (const stack of stacks.splice(0)) stack.stop()
  })

  it('is described by the agent, without an address or a path of the customer', async () => {
    const stack = await started()
    const logs = { name: 'tasks', type: 'files', directory: '/srv/hidden', path: '{task}.log' }
    await stack.startAgent({
      services: JSON.stringify([SERVICE]),
      logs: JSON.stringify([logs]),
    })
    const client = await stack.connect()
    const found = await client.cluster('c-1').service(Cluster).describe({})
    expect([found.cluster, found.agent]).to.deep.equal([AGENT.cluster, AGENT.agent])
    expect(found.platform).to.match(/^node \d+\.\d+\.\d+ linux /)
    expect(found.capacity?.cpus).to.be.above(0)
    expect(found.services.map(({ name }) => name)).to.deep.equal(['db'])
    expect(found.backends).to.deep.include({
      ...{ $typeName: 'postern.dataplane.v1.DescribeResponse.Backend' },
      ...{ setting: 'logs', name: 'tasks', kind: 'files', region: '' },
    })
    const text = JSON.stringify(found, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    expect(text).not.to.include('hidden')
    expect(text).not.to.include('127.0.0.1')
    expect(file_postern_dataplane_v1_cluster.proto.package).to.equal('postern.dataplane.v1')
  })

  it('is kept when the agent goes, with why and what it last said, over a restart of the gateway', async () => {
    const stack = await started()
    const agent = await stack.startAgent({ services: JSON.stringify([SERVICE]) })
    let client = await stack.connect()
    const away = () => client.listClusters({ away: true })
    expect((await away())[0]?.away).to.deep.equal([])
    agent.stop()
    await eventually(async () => (await away())[0]?.away.length === 1, 'the agent is away')
    const [cluster] = await away()
    const [gone] = cluster?.away ?? []
    expect(gone?.code).to.equal('SHUTDOWN')
    expect(gone?.last?.services.map(({ name }) => name)).to.deep.equal(['db'])
    expect(cluster?.tunnels).to.deep.equal([])
    // Whoever does not ask for them is told of connected clusters alone.
    expect(await client.listClusters()).to.deep.equal([])
    const shown = await client.getCluster('c-1')
    const nowMs = stack.clock.wallMs()
    expect(listText(await away(), nowMs)).to.match(/c-1 +a-1 .*SHUTDOWN/)
    expect(showText(shown, nowMs)).to.include('AWAY')
    expect(JSON.stringify(clusterJson(shown))).to.include('"leftAt":"20')

    stack.gateway.stop()
    await stack.startGateway({ 'records.file': join(stack.pki.folder, 'records.db') })
    client = await stack.connect()
    await eventually(async () => (await away()).length === 1, 'the record is there')
    await stack.startAgent({ services: JSON.stringify([SERVICE]) })
    await eventually(async () => (await away())[0]?.away.length === 0, 'the agent is back')
  })

  it('ends for agents that were there when a gateway was killed', async () => {
    const stack = await started()
    const { access, registry } = stack.gateway
    await stack.startAgent()
    await eventually(() => registry.tunnelCount === 1, 'it has registered')
    const open = access?.records.database.selectFrom('cluster_agents').selectAll()
    await eventually(async () => (await open?.execute())?.length === 1, 'it is written down')
    // As a kill leaves it: nobody wrote an end.
    for (const agent of stack.agents) agent.stop()
    await eventually(async () => (await open?.execute())?.[0]?.left_at !== null, 'it has left')
    await access?.records.database.updateTable('cluster_agents').set({ left_at: null }).execute()
    stack.gateway.stop()
    await stack.startGateway({ 'records.file': join(stack.pki.folder, 'records.db') })
    const client = await stack.connect()
    const codeOf = async () => (await client.listClusters({ away: true }))[0]?.away[0]?.code
    await eventually(async () => (await codeOf()) === 'CONNECTION_LOST', 'it has an end')
  })

  it('is not there where the cluster never was, or there is no store', async () => {
    const stack = await Stack.start()
    stacks.push(stack)
    const client = await stack.connect()
    expect(await client.listClusters({ away: true })).to.deep.equal([])
    const error = await client.getCluster('c-9').catch((thrown: unknown) => thrown)
    expect((error as RpcError).status).to.equal('NOT_FOUND')
  })
})
