import { create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { clusterJson, listText, showText } from '../../src/cli/caller/caller.ts'
import { ClusterSchema } from '../../src/gen/postern/v1/gateway_pb.js'

const NOW_MS = 1_000_000
const CLUSTER = create(ClusterSchema, {
  name: 'eu-1',
  tunnels: [
    {
      agent: 'a-1',
      agentVersion: '1',
      address: '192.0.2.1:5',
      connectedAtMs: 940_000n,
      streams: 3,
      serviceCount: 1,
      downCount: 1,
      canaryFailures: 2,
      heartbeatAtMs: 999_000n,
      capacity: { cpus: 4, load: 0.5, memoryBytesMax: 2048n, memoryBytesUsed: 1024n },
      services: [{ name: 'db', dataType: 'service-traffic' }],
      health: [{ name: 'db', isDown: true, reason: 'refused\u001b[31m', sinceMs: 970_000n }],
    },
  ],
  errors: [{ atMs: 1n, agent: 'a-1', code: 'PEER_SILENT', text: 'nothing was heard' }],
})

describe('clusters, as commands show them', () => {
  it('are a line for each tunnel, and say so where there is none', () => {
    expect(listText([], NOW_MS)).to.equal('no cluster is connected')
    const [, line] = listText([CLUSTER], NOW_MS).split('\n')
    expect(line).to.match(/^eu-1 .*60 s .*2 failed .*1 \(1 down\)$/)
  })

  it('show one with what is down, its machine and its errors, and no word steers the terminal', () => {
    const text = showText(CLUSTER, NOW_MS)
    expect(text).to.include('DOWN for 30 s: refused').and.include('0.50 of 4')
    expect(text).to.include('PEER_SILENT').and.include('1.0 KiB of 2.0 KiB')
    expect(text).not.to.include('\u001b')
  })

  it('are the same in JSON, with numbers and null', () => {
    const json = JSON.parse(JSON.stringify(clusterJson(CLUSTER))) as {
      tunnels: { rttMs: unknown; capacity: object }[]
    }
    expect(json.tunnels[0]?.rttMs).to.equal(null)
    expect(json.tunnels[0]?.capacity).to.include({ cpus: 4, memoryBytesMax: 2048 })
  })
})
