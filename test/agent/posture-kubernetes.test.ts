import { expect } from 'chai'
import { createServer, type Server } from 'node:https'
import { readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { lookAtEtcd } from '../../src/agent/posture/kubernetes.ts'
import { GATEWAY, TestPki } from '../support/pki.ts'

const sample = (labels: string, count: number): string =>
  `apiserver_storage_transformation_operations_total{${labels}} ${String(count)}`
const of = (prefix: string, more = 'resource="secrets",status="OK"'): string =>
  `${more},transformation_type="to_storage",transformer_prefix="${prefix}"`

describe('how Kubernetes keeps secrets', () => {
  let server: Server
  let pki: TestPki
  let lines: readonly string[]
  before(async () => {
    pki = await TestPki.create()
    const { certificateFile, keyFile } = await pki.issue(GATEWAY)
    const files = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
    server = createServer(files, (request, response) => {
      const isLetIn = request.headers.authorization === 'Bearer of-the-pod'
      response.writeHead(request.url === '/metrics' && isLetIn ? 200 : 403)
      response.end(isLetIn ? `# HELP x\n${lines.join('\n')}\n` : '')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    writeFileSync(join(pki.folder, 'token'), 'of-the-pod', { mode: 0o600 })
    writeFileSync(join(pki.folder, 'other'), 'of-another', { mode: 0o600 })
  })
  after(() => {
    server.close()
  })
  const look = async (told: readonly string[], token = 'token') => {
    lines = told
    const { port } = server.address() as AddressInfo
    const row = {
      ...({ name: 'k', type: 'kubernetes', namespace: 'team' } as const),
      url: new URL(`https://localhost:${String(port)}`),
      ...{ caFile: pki.bundleFile, tokenFile: join(pki.folder, token) },
    }
    return await lookAtEtcd(row, new AbortController().signal)
  }

  for (const [what, told, outcome, evidence] of [
    ['by KMS', [sample(of('k8s:enc:kms:v2:'), 7)], 'OK', 'by kms'],
    [
      'by KMS, while what was written before is read',
      [
        sample(of('k8s:enc:kms:v2:'), 7),
        sample(of('identity').replace('to_storage', 'from_storage'), 9),
      ],
      'OK',
      'by kms',
    ],
    ['not at all', [sample(of('identity'), 1)], 'FAIL', 'unencrypted'],
    [
      'in two ways',
      [sample(of('k8s:enc:aescbc:v1:'), 1), sample(of(''), 2)],
      'FAIL',
      'unencrypted',
    ],
    ['in a way that was never used', [sample(of('identity'), 0)], 'UNKNOWN', 'nothing of Secrets'],
    [
      'in a way that is told of others',
      [sample(of('k8s:enc:kms:v2:', 'resource="configmaps"'), 1)],
      'UNKNOWN',
      'nothing of Secrets',
    ],
  ] as const)
    it(`is told where they are encrypted ${what}`, async () => {
      const found = await look(told)
      expect([found.outcome, found.evidence.includes(evidence)], found.evidence).to.deep.equal([
        outcome,
        true,
      ])
    })

  it('is unknown where the agent may not look, and where there is too much to read', async () => {
    expect((await look([], 'other')).evidence).to.include('status 403')
    const long = Array.from({ length: 40 }, () => 'x'.repeat(2_000_000))
    expect((await look([...long, sample(of('identity'), 1)])).outcome).to.equal('UNKNOWN')
  })
})
