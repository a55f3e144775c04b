import { create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { messageJson, SOCKET_OPTIONS, socketPath, statePath } from '../../src/cli/place/place.ts'
import { AgentStatusSchema } from '../../src/gen/postern/v1/agent_control_pb.js'
import { ClusterSchema } from '../../src/gen/postern/v1/gateway_pb.js'

describe('what commands know of a daemon', () => {
  it('is printed with every field: null for what is absent, lists and maps as they are', () => {
    const status = create(AgentStatusSchema, {
      health: 'down',
      calls: { byStatus: { OK: 3 } },
      services: [{ name: 's', health: { up: false, reason: 'refused', since: 'x' } }],
    })
    const json = messageJson(AgentStatusSchema, status)
    expect(json).to.deep.include({ health: 'down', version: '', reasons: [], lastError: null })
    expect(json.calls).to.deep.equal({ running: 0, allowed: 0, denied: 0, byStatus: { OK: 3 } })
    expect(json.services).to.deep.equal([
      {
        name: 's',
        dataType: '',
        target: '',
        health: { up: false, reason: 'refused', since: 'x', latencyMs: null },
      },
    ])
    expect(JSON.stringify(json)).not.to.include('$typeName')
    expect(messageJson(ClusterSchema, create(ClusterSchema))).to.include({ name: '' })
  })

  it('is found by an option, the environment or by default, in that order', () => {
    expect(Object.keys(SOCKET_OPTIONS)).to.include('socket')
    expect(socketPath({ socket: '/a' }, { POSTERN_STATUS_SOCKET: '/b' })).to.equal('/a')
    expect(socketPath({}, { POSTERN_STATUS_SOCKET: '/b' })).to.equal('/b')
    expect(socketPath({}, {})).to.equal('/run/postern/agent.sock')
    expect(statePath({}, { POSTERN_STATE_DIRECTORY: '/c' })).to.equal('/c')
  })
})
