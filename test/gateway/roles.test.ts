import { expect } from 'chai'
import { KIND } from '../../src/wire/open-head.ts'
import {
  RoleAuthority,
  RoleBook,
  type KnownCaller,
  type Role,
} from '../../src/gateway/roles/roles.ts'
import { Records } from '../../src/store/records.ts'
import { rejection } from '../support/code-of.ts'

const ISSUER = 'https://login.example.com'
const OPERATOR = { actor: 'test', nowMs: 1 }
const GOOD: Role = {
  name: 'ops',
  members: [{ name: 'console' }],
  clusters: ['eu-*'],
  methods: ['grpc.health.v1.Health/*'],
  services: ['prometheus'],
}
const ANNA: KnownCaller = { caller: 'anna', issuer: ISSUER, groups: ['deploy'] }

describe('roles', () => {
  let records: Records
  let book: RoleBook
  beforeEach(async () => {
    records = await Records.open(':memory:')
    book = new RoleBook(records)
  })
  afterEach(() => records.close())

  const grant = (role: Partial<Role> = {}, mayReplace = false): Promise<void> =>
    book.grant({ ...GOOD, ...role }, mayReplace, OPERATOR)
  const codeFor = (
    who: KnownCaller,
    asked: { cluster?: string; name?: string; kind?: number } = {},
    certificates: 'optional' | 'required' = 'required',
  ): string => {
    const { cluster = 'eu-1', name = 'grpc.health.v1.Health/Check', kind = KIND.unary } = asked
    const authority = new RoleAuthority(book, certificates)
    return authority.denialOf(who, { cluster, name, kind })?.code ?? 'allowed'
  }

  it('are asked for of tokens always, and of certificates where the setting says so', () => {
    expect(codeFor({ caller: 'console' }, {}, 'optional')).to.equal('allowed')
    expect(codeFor({ caller: 'console' })).to.equal('CLUSTER_UNKNOWN')
    expect(codeFor(ANNA, {}, 'optional')).to.equal('CLUSTER_UNKNOWN')
    // Our own canary is nobody.
    expect(codeFor({ caller: '' })).to.equal('allowed')
  })

  it('allow what they name, and tell of other methods only who may know of the cluster', async () => {
    await grant()
    const console_ = { caller: 'console' }
    for (const [asked, code] of [
      [{}, 'allowed'],
      [{ cluster: 'us-1' }, 'CLUSTER_UNKNOWN'],
      [{ name: 'a.B/C' }, 'POLICY_DENIED'],
      [{ name: 'grpc.health.v1.HealthX/Check' }, 'POLICY_DENIED'],
      [{ name: 'prometheus', kind: KIND.forward }, 'allowed'],
      [{ name: 'loki', kind: KIND.forward }, 'POLICY_DENIED'],
      // A method of a service's name is none, and the other way round.
      [{ name: 'prometheus' }, 'POLICY_DENIED'],
      [{ name: '', kind: KIND.sealed }, 'POLICY_DENIED'],
    ] as const)
      expect(codeFor(console_, asked), JSON.stringify(asked)).to.equal(code)
    expect(codeFor({ caller: 'consol' })).to.equal('CLUSTER_UNKNOWN')
    expect(codeFor({ caller: 'console2' })).to.equal('CLUSTER_UNKNOWN')
  })

  it('let sealed sessions through where they allow every method', async () => {
    await grant({ methods: ['*'] })
    expect(codeFor({ caller: 'console' }, { name: '', kind: KIND.sealed })).to.equal('allowed')
  })

  it('tell certificates from tokens, and issuers from each other', async () => {
    await grant({ members: [{ name: 'anna' }] })
    await grant({ name: 'ci', members: [{ issuer: ISSUER, group: 'deploy' }], clusters: ['us-1'] })
    expect(codeFor(ANNA)).to.equal('CLUSTER_UNKNOWN')
    expect(codeFor({ caller: 'anna' })).to.equal('allowed')
    expect(codeFor(ANNA, { cluster: 'us-1' })).to.equal('allowed')
    const other = { ...ANNA, issuer: `${ISSUER}.example.org` }
    expect(codeFor(other, { cluster: 'us-1' })).to.equal('CLUSTER_UNKNOWN')
    expect(codeFor({ caller: 'deploy' }, { cluster: 'us-1' })).to.equal('CLUSTER_UNKNOWN')
  })

  it('name subjects, and beginnings of subjects', async () => {
    await grant({ members: [{ issuer: ISSUER, subject: 'repo:acme/*' }] })
    const by = (caller: string): string => codeFor({ caller, issuer: ISSUER })
    expect([by('repo:acme/api'), by('repo:acme2/api'), by('repo:acm')]).to.deep.equal([
      ...['allowed', 'CLUSTER_UNKNOWN', 'CLUSTER_UNKNOWN'],
    ])
  })

  it('are kept, replaced where that is said, and taken away; each with an event', async () => {
    await grant()
    await rejection(grant(), 'STATE_EXISTS')
    await grant({ clusters: ['us-*'] }, true)
    expect(codeFor({ caller: 'console' })).to.equal('CLUSTER_UNKNOWN')
    const beside = new RoleBook(records)
    expect([await beside.refresh(), await beside.refresh()]).to.deep.equal([true, false])
    expect(beside.roles).to.deep.equal(book.roles)
    await rejection(book.revoke('nobody', OPERATOR), 'NOT_KNOWN')
    await book.revoke('ops', OPERATOR)
    expect(book.roles).to.deep.equal([])
    expect(await beside.refresh()).to.equal(true)
    const events = await records.database
      .selectFrom('events')
      .select(['kind', 'identity'])
      .execute()
    expect(events).to.deep.equal([
      { kind: 'role.granted', identity: 'ops' },
      { kind: 'role.granted', identity: 'ops' },
      { kind: 'role.revoked', identity: 'ops' },
    ])
  })

  for (const [what, role] of [
    ['a name of no form', { name: 'Ops' }],
    ['nobody to be for', { members: [] }],
    ['no clusters', { clusters: [] }],
    ['neither methods nor services', { methods: [], services: [] }],
    ['a star within a name', { clusters: ['eu-*-1'] }],
    ['a method of no form', { methods: ['Health'] }],
    ['a service of no form', { services: ['a b'] }],
    ['an issuer without https', { members: [{ issuer: 'http://x', subject: 'a' }] }],
    ['a subject with a star within', { members: [{ issuer: ISSUER, subject: 'a*b' }] }],
    ['an empty group', { members: [{ issuer: ISSUER, group: '' }] }],
    ['too many clusters', { clusters: Array.from({ length: 257 }, () => 'a') }],
  ] as const)
    it(`are refused with ${what}`, async () => {
      await rejection(grant(role), 'USAGE')
      expect(book.roles).to.deep.equal([])
    })

  it('need a store', async () => {
    await rejection(new RoleBook(undefined).revoke('ops', OPERATOR), 'CONFIG_INVALID')
    expect(await new RoleBook(undefined).refresh()).to.equal(false)
  })
})
