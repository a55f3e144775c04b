import { expect } from 'chai'
import { judgeAgentServices } from '../../src/config/agent-rules.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { codeOf } from '../support/code-of.ts'

const BASE = { 'gateway.address': 'gateway.test:7443', trustDomain: 'test' }
const SERVICE = { name: 'db', dataType: 'service-traffic' }

describe('what the agent reaches inside of the customer’s network', () => {
  const judge = (flags: Record<string, string>): AgentSettings => {
    const options = { flags: { ...BASE, ...flags }, environment: {}, file: undefined }
    const { values } = loadSettings(AGENT_SETTINGS, options)
    judgeAgentServices(values)
    return values
  }
  const service = (row: object) => ({ services: JSON.stringify([{ ...SERVICE, ...row }]) })
  const probe = (row: object) => ({
    ...service({ target: 'tls://db.internal:1' }),
    probes: JSON.stringify([{ service: 'db', ...row }]),
  })

  for (const [what, flags, text] of [
    ['a tcp:// target', service({ target: 'tcp://db.internal:5432' }), 'tls://'],
    ['an http:// target', service({ target: 'http://api.internal' }), 'https://'],
    ['a target that only begins as loopback', service({ target: 'tcp://127.0.0.1.x:1' }), 'plain'],
    ['an address written as IPv4 in IPv6', service({ target: 'tcp://[::ffff:7f00:1]:1' }), 'plain'],
    ['a probe over http', probe({ type: 'http', target: 'db.internal:80' }), 'https'],
    ['a probe over gRPC', probe({ type: 'grpc', target: 'db.internal:80' }), 'plaintext'],
    ['a probe over http to a service over TLS', probe({ type: 'http' }), 'plaintext: allowed'],
    ['a probe over gRPC to a service over TLS', probe({ type: 'grpc' }), 'plaintext: allowed'],
    ['metrics for all', { 'metrics.listen': '0.0.0.0:9464' }, 'metrics.plaintext: allowed'],
    ['metrics over IPv6', { 'metrics.listen': '[::]:9464' }, 'metrics.plaintext: allowed'],
    ['spans', { 'tracing.url': 'http://otel.internal:4318/v1/traces' }, 'tracing.plaintext'],
  ] as const) {
    it(`is refused in plain text: ${what}`, () => {
      const { message } = codeOf(() => judge(flags), 'CONFIG_INVALID')
      expect(message).to.include(text)
    })
  }

  for (const [what, flags] of [
    ['TLS', service({ target: 'tls://db.internal:5432', caFile: '/etc/ca.pem' })],
    ['HTTPS', service({ target: 'https://api.internal', dataType: 'metric' })],
    ['loopback', service({ target: 'tcp://127.0.0.1:1' })],
    ['loopback of IPv6', service({ target: 'http://[::1]:1' })],
    ['a row’s own word', service({ target: 'tcp://db.internal:1', plaintext: 'allowed' })],
    ['a probe that says nothing', probe({ type: 'tcp', target: 'db.internal:80' })],
    ['a probe over https', probe({ type: 'https', target: 'db.internal:80' })],
    ['a probe by word', probe({ type: 'grpc', plaintext: 'allowed' })],
    ['a probe of TLS by the service’s own target', probe({ type: 'https' })],
    [
      'a probe of a service that is reached in plain text by word',
      {
        ...service({ target: 'tcp://db.internal:1', plaintext: 'allowed' }),
        probes: JSON.stringify([{ service: 'db', type: 'grpc' }]),
      },
    ],
    ['metrics by word', { 'metrics.listen': '0.0.0.0:1', 'metrics.plaintext': 'allowed' }],
    ['metrics on loopback', { 'metrics.listen': 'localhost:1' }],
    ['spans over TLS', { 'tracing.url': 'https://otel.internal/v1/traces' }],
    ['spans by word', { 'tracing.url': 'http://o.internal/v1', 'tracing.plaintext': 'allowed' }],
  ] as const) {
    it(`is taken: ${what}`, () => {
      expect(judge(flags)).to.be.an('object')
    })
  }

  it('knows the port of https', () => {
    expect(judge(service({ target: 'https://api.internal' })).services[0]?.target?.port).to.equal(
      443,
    )
  })

  it('names roots for what speaks TLS alone', () => {
    const flags = service({ target: 'tcp://127.0.0.1:1', caFile: '/etc/ca.pem' })
    expect(codeOf(() => judge(flags), 'CONFIG_INVALID').message).to.include('caFile belongs to')
  })
})
