import { expect } from 'chai'
import { gatekeeperOf, type Access } from '../../src/gateway/access/access.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { certificatesIn } from '../../src/identity/certificate-files.ts'
import type { NewEvent } from '../../src/store/records.ts'
import type { TlsFacts } from '../../src/transport/tls-wire.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { AGENT, TestPki } from '../support/pki.ts'
import { PosternError } from '../../src/base/errors.ts'

describe('who judges peers', () => {
  let facts: TlsFacts
  let issuer: string

  before(async () => {
    const pki = await TestPki.create()
    const { certificatePem } = readCredential(await pki.issue(AGENT), 'agent', Date.now())
    const [leaf] = certificatesIn(certificatePem)
    issuer = leaf?.extensions.authorityKeyId?.keyId ?? ''
    facts = { identity: AGENT, certificate: leaf?.der, address: '192.0.2.1:1' } as never
  })

  it('lets all in that TLS lets in, where there is no store', () => {
    const gatekeeper = gatekeeperOf(undefined, () => true, new FakeClock())
    expect(gatekeeper.denialOf(facts)).to.equal(undefined)
    gatekeeper.note('kind', facts, 'nobody writes it down')
  })

  it('says a denial before it says that a CA is retired, and names the peer in the record', () => {
    const events: NewEvent[] = []
    let denial: PosternError | undefined = undefined
    const access = {
      denials: { denialOf: () => denial },
      events: { note: (event: NewEvent) => events.push(event) },
    } as unknown as Access
    const retired: string[] = []
    const gatekeeper = gatekeeperOf(access, (key) => retired.includes(key), new FakeClock())
    expect(gatekeeper.denialOf(facts)).to.equal(undefined)
    retired.push(issuer)
    expect(gatekeeper.denialOf(facts)?.code).to.equal('CA_RETIRED')
    denial = new PosternError('IDENTITY_REVOKED', 'lost')
    expect(gatekeeper.denialOf(facts)).to.equal(denial)
    gatekeeper.note('handshake.refused', facts, 'why')
    const identity = 'spiffe://test.postern.test/cluster/c-1/agent/a-1'
    expect(events).to.have.length(1)
    expect(events[0]).to.include({ kind: 'handshake.refused', identity, address: '192.0.2.1:1' })
  })
})
