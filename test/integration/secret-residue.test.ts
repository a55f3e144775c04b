import { expect } from 'chai'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Secrets } from '../../src/client.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import type { Child } from '../../scripts/child-processes.ts'
import { Daemons } from '../support/daemons.ts'
import { CALLER, GATEWAY, TRUST_DOMAIN } from '../support/pki.ts'
import { readSealingKey } from '../../src/seal/sealing-key.ts'
import { sealingKey } from '../support/sealing.ts'
import { VaultStandIn } from '../support/secrets/stand-ins.ts'

const scope = { organisation: 'acme', domain: 'prod', project: 'billing' }
/** Copies of one value, just after it was written. */
const AT_ONCE_MAX = 4
const POLICY = `version: 1
rules:
  - { name: secrets, callers: ["*"], methods: ["postern.dataplane.v1.Secrets/*"] }
`

/** What stays of a value in the memory of the programs that it went through: what a core of them would hold. */
describe('a secret that was written', function () {
  let daemons: Daemons
  let server: VaultStandIn
  let client: GatewayClient
  beforeEach(async () => {
    daemons = await Daemons.create()
    server = new VaultStandIn(await daemons.pki.issue(GATEWAY))
  })
  afterEach(() => {
    client.close()
    daemons.stop()
    server.stop()
  })

  it('is in no memory of the gateway, and in little of the agent, as the security model says', async () => {
    const { folder } = daemons.pki
    const key = sealingKey(folder, 'console')
    const tokenFile = join(folder, 'vault-token')
    writeFileSync(tokenFile, 's.of-tests', { mode: 0o600 })
    const policy = join(folder, 'policy.yaml')
    writeFileSync(policy, POLICY)
    const gateway = await daemons.startGateway()
    const agent = await daemons.startAgent({
      allow: [],
      policy: { file: policy },
      seal: { callers: [{ caller: 'console', pin: key.pin }] },
      secrets: [
        {
          ...{ name: 'vault', type: 'vault', url: await server.start(), mount: 'kv', tokenFile },
          caFile: daemons.pki.bundleFile,
        },
      ],
    })
    client = await dialGateway({
      address: { host: '127.0.0.1', port: daemons.callerPort },
      serverName: 'localhost',
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
    const sealFiles = { keyFile: join(folder, 'state/seal-key.pem'), certificateFile: undefined }
    const { pin } = readSealingKey(sealFiles)
    const secrets = client.sealed('c-1', { ...key, pins: [pin] }).service(Secrets)
    const put = async (value: Buffer): Promise<void> => {
      await secrets.put({ backend: 'vault', scope, name: 'x', value })
    }
    const [ofGateway, ofAgent] = [pidOf(gateway), pidOf(agent)]
    const values: Buffer[] = []
    const own = Buffer.from(randomBytes(32).toString('hex'))
    expect(occurrences(process.pid, own), 'the search finds what is there').to.be.above(0)
    for (let i = 0; i < 10; i++) {
      const value = Buffer.from(randomBytes(32).toString('hex'))
      values.push(value)
      await put(value)
      expect(occurrences(ofGateway, value), 'in the gateway').to.equal(0)
      // Of what Node and OpenSSL had in hand; none is in an object that lives.
      expect(occurrences(ofAgent, value), 'in the agent').to.be.at.most(AT_ONCE_MAX)
    }
    for (let i = 0; i < 100; i++) await put(randomBytes(64))
    const left = values.reduce((sum, value) => sum + occurrences(ofAgent, value), 0)
    expect(left, 'of ten, after a hundred others').to.be.at.most(AT_ONCE_MAX)
  })
})

function pidOf({ process: { pid = 0 } }: Child): number {
  return pid
}

/** How often bytes lie in the memory of a process that it can write, as a core of it would hold them. */
function occurrences(pid: number, wanted: Buffer): number {
  const maps = readFileSync(`/proc/${String(pid)}/maps`, 'latin1').split('\n')
  const memory = openSync(`/proc/${String(pid)}/mem`, 'r')
  let found = 0
  for (const line of maps) {
    const [, from = '', to = '', mode = ''] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? []
    if (!mode.startsWith('rw')) continue
    const [start, end] = [parseInt(from, 16), parseInt(to, 16)]
    const piece = Buffer.alloc(1024 * 1024 + wanted.length)
    for (let at = start; at < end; at += 1024 * 1024) {
      let read = 0
      try {
        read = readSync(memory, piece, 0, Math.min(piece.length, end - at), at)
      } catch {
        // A page that is not there.
      }
      const bytes = piece.subarray(0, read)
      for (let i = bytes.indexOf(wanted); i !== -1; i = bytes.indexOf(wanted, i + 1))
        if (i < 1024 * 1024) found++
    }
  }
  closeSync(memory)
  return found
}
