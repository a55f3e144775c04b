import { expect } from 'chai'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadPolicy, problemText, readPolicy } from '../../src/config/policy-file.ts'
import { codeOf } from '../support/code-of.ts'

const GOOD = `
version: 1
mode: enforce
residency: { gateways: [eu], callers: [] }
sealed: { secret: required, presigned-url: optional }
rules:
  - name: logs for the console
    callers: [console, "auditor@first-hand", dba-*]
    methods: [postern.dataplane.v1.Logs/Tail]
    types: [task-log]
    budget: { bytes: 2GiB/day, calls: 100/min }
  - name: the DBA's database, in office hours
    callers: [dba-*]
    services: [orders-db]
    hours: { days: mon-fri, from: "08:00", to: "18:00", zone: Europe/Dublin }
  - name: a console
    callers: ["*"]
    services: [web]
    paths: ["GET /v1/*/status", "/public/**"]
    upgrade: true
budgets: { metric: { bytes: 1GiB/h } }
push: off
unknownFields: refuse
metadata: [x-request-id]
`

/** The mistakes of a policy, one a line. */
function mistakes(text: string): string[] {
  return readPolicy(text, 'p.yaml').problems.map((one) => problemText('p.yaml', one))
}

const USER_MISTAKES = [
  'p.yaml:3:11: sealed "maybe" is not known; one of required, optional',
  'p.yaml:5:7: issuer must be https:// where neither jwksUrl nor jwksFile is given',
  'p.yaml:6:7: an issuer needs issuer and audience, which names this cluster',
  'p.yaml:7:7: jwksUrl and jwksFile are two ways; name one',
  'p.yaml:7:65: jwksUrl must be https://',
  'p.yaml:9:3: rule "a" demands a user of https://other.example.com, which users.issuers does not name',
  'p.yaml:9:109: values must be a list',
  'p.yaml:10:54: user, where it is not "required", must be a mapping',
]

describe('a policy file', () => {
  it('is read with all that it may say', () => {
    const { document, problems } = readPolicy(GOOD, 'p.yaml')
    expect(problems).to.deep.equal([])
    const [logs, dba, web] = document?.rules ?? []
    expect(logs).to.deep.include({ place: 'p.yaml:7', types: ['task-log'] })
    expect(logs?.budget).to.deep.equal({
      bytes: { amount: 2 * 1024 ** 3, periodMs: 86_400_000 },
      calls: { amount: 100, periodMs: 60_000 },
    })
    expect(logs?.callers.map(({ name, isPrefix, known }) => [name, isPrefix, known])).to.deep.equal(
      [
        ['console', false, undefined],
        ['auditor', false, 'first-hand'],
        ['dba-', true, undefined],
      ],
    )
    expect([...(dba?.hours?.days ?? [])]).to.deep.equal([1, 2, 3, 4, 5])
    expect(dba?.hours).to.deep.include({ from: 480, to: 1080, zone: 'Europe/Dublin' })
    expect(web?.paths.map(({ method, segments }) => [method, segments.length])).to.deep.equal([
      ['GET', 3],
      [undefined, 2],
    ])
    expect(document).to.deep.include({ push: 'off', unknownFields: 'refuse' })
    expect(document?.metadata).to.deep.equal(['x-request-id'])
  })

  it('is told each of its mistakes, with its line and column', () => {
    const text = `version: 1
rules:
  - name: a
    callers: [Console]
    methods: [Logs]
    types: [task-logs, task-io, own]
    budget: { bytes: lots }
    hours: { from: "8", to: "18:00" }
    sealed: always
    colour: red
  - callers: ["*"]
    methods: ["*"]
sealed: { metrics: required }
mode: observe
residency: { gateways: ["EU West"] }
`
    const found = mistakes(text)
    for (const start of [
      'p.yaml:4:15: "Console" must be',
      'p.yaml:5:15: "Logs" must be package.Service/Method',
      'p.yaml:6:13: data type "task-logs" is not known (did you mean task-log?)',
      'p.yaml:6:24: data of type task-io never crosses the tunnel; use postern.dataplane',
      'p.yaml:6:33: own is what Postern itself says',
      'p.yaml:7:22: bytes "lots" must be such as 2GiB/day',
      'p.yaml:8:20: from "8" must be a time',
      'p.yaml:9:13: sealed "always" is not known; one of required, optional',
      'p.yaml:10:5: "colour" is no key of a rule',
      'p.yaml:11:5: a rule needs a name',
      'p.yaml:13:11: data type "metrics" is not known (did you mean metric?)',
      'p.yaml:14:7: observing must end',
      'p.yaml:15:25: "EU West" is no name of a region',
    ])
      expect(
        found.some((one) => one.startsWith(start)),
        `${start}\n${found.join('\n')}`,
      ).to.equal(true)
  })

  it('is refused whole, whatever it is', () => {
    for (const text of [
      '',
      'version: 2',
      'rules: []',
      '- a',
      'version: [1',
      'version: 1\nversion: 1',
      'version: 1\nrules: {}',
      'version: 1\nrules: [x]',
      'version: 1\nrules: [{ name: 5, callers: [a], methods: ["*"] }]',
      'version: 1\nrules: [{ name: a, methods: ["*"] }]',
      'version: 1\nrules: [{ name: a, callers: [a] }]',
      'version: 1\nrules: [{ name: a, callers: [a], methods: ["*"] }, { name: a, callers: [a], methods: ["*"] }]',
      'version: 1\nrules: [{ name: a, callers: [a], services: ["*"], paths: ["v1", "/**/x"] }]',
      'version: 1\nlockdown: true',
      'version: 1\nmetadata: ["X-Upper"]',
      'version: 1\na: &a [*a]',
      `version: 1\nrules: ${'['.repeat(100_000)}`,
      `version: 1\n? [a]\n: b`,
    ]) {
      const { document, problems } = readPolicy(text, 'p.yaml')
      expect([document, problems.length > 0], text.slice(0, 80)).to.deep.equal([undefined, true])
    }
  })

  it('is warned of rules that are never reached, or never match, and taken all the same', () => {
    const { document, problems } = readPolicy(
      `version: 1
residency: { gateways: [mars] }
rules:
  - { name: all, callers: ["*"], methods: ["*"] }
  - { name: part, callers: [a], methods: [p.S/M] }
  - { name: none, callers: [a], services: [x], types: [] }
  - { name: db, callers: [a], services: [db] }`,
      'p.yaml',
    )
    expect(document).to.not.equal(undefined)
    const texts = problems.map((one) => problemText('p.yaml', one))
    expect(texts).to.have.length(3)
    expect(texts[0]).to.include('p.yaml:2:25: warning: mars is none of the regions')
    expect(texts[1]).to.include('"part" is never reached: "all" (p.yaml:4)')
    expect(texts[2]).to.include('"none" never matches')
  })

  it('of a push may say rules alone', () => {
    const push = (text: string) => readPolicy(`version: 1\n${text}`, 'push', true)
    expect(push('rules: []').document?.rules).to.deep.equal([])
    for (const key of ['sealed: {}', 'residency: {}', 'lockdown: x', 'push: off', 'metadata: []'])
      expect(push(key).document, key).to.equal(undefined)
  })

  it('that cannot be read says why', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-policy-'))
    try {
      const path = join(folder, 'policy.yaml')
      codeOf(() => loadPolicy(path), 'CONFIG_UNREADABLE')
      writeFileSync(path, Buffer.from([0xff, 0xfe, 0x41]))
      codeOf(() => loadPolicy(path), 'CONFIG_UNREADABLE')
      writeFileSync(path, Buffer.alloc(1024 * 1024 + 1, 0x20))
      codeOf(() => loadPolicy(path), 'CONFIG_UNREADABLE')
      writeFileSync(path, 'version: 1\nmode: loose\nrules: [{}]')
      const { message } = codeOf(() => loadPolicy(path), 'CONFIG_INVALID')
      expect(message).to.include('policy.yaml:2:7').and.include('policy.yaml:3:9')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is told what is wrong with the users that it names', () => {
    const text = `version: 1
users:
  sealed: maybe
  issuers:
    - { issuer: http://plain.example.com, audience: eu-1 }
    - { issuer: https://login.example.com }
    - { issuer: https://a.example.com, audience: eu-1, jwksUrl: "http://a", jwksFile: k }
rules:
  - { name: a, callers: ["*"], methods: ["*"], user: { issuer: https://other.example.com, claims: { groups: { a: 1 } } } }
  - { name: b, callers: ["*"], methods: ["*"], user: always }
`
    expect(mistakes(text)).to.deep.equal(USER_MISTAKES)
    const { document } = readPolicy(
      'version: 1\nusers: { issuers: [{ issuer: "https://l", audience: a }] }\nrules: [{ name: a, callers: ["*"], methods: ["*"], user: { claims: { /realm/roles: x, "a/b": [y, z] } } }]',
      'p.yaml',
    )
    expect([...(document?.rules[0]?.user?.claims ?? [])]).to.deep.equal([
      ['/realm/roles', ['x']],
      ['/a~1b', ['y', 'z']],
    ])
  })
})
