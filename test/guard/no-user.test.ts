import type { DescMessage } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { Notices, Tunnel } from '../../src/gen/postern/v1/tunnel_pb.js'

/** Every field that a gateway can tell an agent in its own name, each looked at: none holds anything of a user. */
const LOOKED_AT = [
  'CanaryRequest.failures',
  'CanaryRequest.gateway',
  'CanaryRequest.interval_ms',
  'CanaryRequest.latency_ms',
  'DescribeRequest.hash',
  'DescribeRequest.offset',
  'GatewayPlace.address',
  'GatewayPlace.gateway',
  'GatewayPlace.zone',
  'NarrowRequest.policy',
  'Notice.bundles',
  'Notice.crls',
  'Notice.gateway_authorities',
  'Notice.renew_within_ms',
  'Notice.warnings',
  'RegisterResponse.features',
  'RegisterResponse.gateway',
  'RegisterResponse.gateway_version',
  'RegisterResponse.gateways',
  'RegisterResponse.region',
  'RegisterResponse.time_ms',
  'RegisterResponse.zone',
  'RenewResponse.certificate',
  'RenewResponse.chain',
]

describe('what a gateway can tell an agent', () => {
  it('has no field for users, roles or rights: a field that is new is looked at first', () => {
    const fields = new Set<string>()
    const walk = (message: DescMessage): void => {
      for (const field of message.fields) {
        const name = `${message.name}.${field.name}`
        if (fields.has(name)) continue
        fields.add(name)
        if (field.message !== undefined) walk(field.message)
      }
    }
    for (const { input } of Notices.methods) walk(input)
    for (const { output } of Tunnel.methods) walk(output)
    expect([...fields].sort()).to.deep.equal(LOOKED_AT)
  })
})
