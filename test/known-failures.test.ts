import { expect } from 'chai'
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/base/system-clock.ts'
import { isLabel, parseIdentity } from '../src/identity/name.ts'
import { pemBlocks } from '../src/identity/pem.ts'
import { rootsOf, TLS_OPTIONS } from '../src/transport/tls-options.ts'
import { codeOf } from './support/code-of.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const DAY_MS = 86_400_000

/** Failures that others had, each with the rule that keeps it out. Those that need a network are in integration/. */
describe('known failures of this kind of program, in the sources', () => {
  const sources = globSync('src/**/*.ts', { cwd: ROOT })
    .filter((path) => !path.startsWith('src/gen/'))
    .map((path) => ({
      path,
      text: readFileSync(`${ROOT}${path}`, 'utf8')
        .replace(/\/\*[\s\S]*?\*\//g, '')
        .replace(/^\s*\/\/.*$/gm, ''),
    }))
  const usersOf = (pattern: RegExp): string[] =>
    sources.filter(({ text }) => pattern.test(text)).map(({ path }) => path)

  it('node-forge verified what it should not, again and again (CVE-2022-24771 to CVE-2026-85393): it takes PKCS#12 apart for one command, and verifies nothing', () => {
    expect(usersOf(/from 'node-forge'/)).to.deep.equal(['src/identity/pkcs12-import.ts'])
    // By import() alone: it is in the import graph of nothing else.
    expect(usersOf(/pkcs12-import/)).to.deep.equal(['src/cli/agent-certs/import.ts'])
    expect(usersOf(/await import\('[./]*identity\/pkcs12-import.ts'\)/)).to.have.lengthOf(1)
    expect(usersOf(/from '[./]*identity\/pkcs12-import/)).to.deep.equal([])
  })

  it('X509ChainBuilder checks neither CA bits nor time nor trust: it decides nothing', () => {
    expect(usersOf(/X509ChainBuilder/)).to.deep.equal([])
    expect(usersOf(/from '@peculiar\/x509'/)).to.have.members([
      'src/identity/authority.ts',
      'src/identity/make-crl.ts',
    ])
  })

  it('names in text can be injected (CVE-2021-44531, -44532, -44533): they are read from DER, text is for logs', () => {
    expect(usersOf(/\bsubjectAltName\b|\bsubjectaltname\b/)).to.include.members([
      'src/transport/peer-subject.ts',
    ])
  })

  it('identities matched by pattern let others in (Istio CVE-2026-39350, NATS CVE-2026-33248): they have one exact form', () => {
    for (const wrong of [
      'spiffe://aXb/cluster/c/agent/a/',
      'spiffe://a.b/cluster/c/agent/a%2e',
      'spiffe://a.b:443/cluster/c/agent/a',
      'spiffe://user@a.b/cluster/c/agent/a',
      'spiffe://a.b/cluster/c/agent/a?x',
      'spiffe://a.b/cluster/c/agent/a#x',
      'SPIFFE://a.b/cluster/c/agent/a',
      'spiffe://a.b/cluster/c/agent/A',
      'spiffe://a.b/cluster/c/agent/a\n',
    ])
      codeOf(() => parseIdentity(wrong), 'CERT_LEAF_RULES')
    // The class [A-z] of an earlier one also took these.
    for (const character of '[\\]^_`') expect(isLabel(`a${character}b`)).to.equal(false)
  })

  it('the only error that Node tells may not be the only one: authorizationError decides nothing', () => {
    expect(usersOf(/authorizationError/)).to.have.members(['src/transport/tls-errors.ts'])
    expect(usersOf(/requestCert: true|requestCert: expected/)).to.have.members([
      'src/transport/api-listen.ts',
      'src/transport/https-listen.ts',
      'src/transport/sealed-tls.ts',
      'src/transport/tls-accept.ts',
      'src/transport/tls-over.ts',
    ])
  })

  it('a stale list would refuse everybody (CRL_HAS_EXPIRED, UNABLE_TO_GET_CRL): Node is given none', () => {
    expect(usersOf(/\bcrl: (?!CrlFacts)/)).to.deep.equal([])
  })

  it('callbacks of TLS that throw end the process, and server names chose another trust (CVE-2026-21637, CVE-2026-48928)', () => {
    expect(usersOf(/SNICallback|pskCallback|addContext|newSession|resumeSession/)).to.deep.equal([])
    expect(usersOf(/ALPNCallback/)).to.deep.equal(['src/transport/tls-accept.ts'])
  })

  it('readers of PKCS#12 and CMS were attacked (CVE-2025-69421, CVE-2026-45447): nothing of the kind is read', () => {
    expect(
      usersOf(/\bpfx\b:|parseInternalValues|smime|cms -verify/i).filter(
        (path) => path !== 'src/gateway/enrolment/est.ts',
      ),
    ).to.deep.equal([])
    expect(usersOf(/from 'pkijs'/)).to.deep.equal(['src/identity/pkcs12.ts'])
  })

  it('defaults of TLS can be lowered from outside (NODE_OPTIONS): every one of them is set', () => {
    for (const option of ['minVersion', 'maxVersion', 'ciphers', 'ecdhCurve', 'sigalgs'] as const)
      expect(TLS_OPTIONS[option], option).to.be.a('string')
    expect(TLS_OPTIONS.minVersion).to.equal('TLSv1.2')
    expect(TLS_OPTIONS.rejectUnauthorized).to.equal(true)
  })

  it('a missing CA file meant the roots of the system (Caddy CVE-2026-27586): no root, no connection', () => {
    for (const none of ['', '\n', '-----BEGIN PUBLIC KEY-----'])
      codeOf(() => rootsOf(none), 'CERTIFICATE_UNUSABLE')
  })

  it('a timer of 30 days fires after a millisecond, and renews in a loop: ours waits', async () => {
    let fired = 0
    const cancels = [25 * DAY_MS, 30 * DAY_MS, 1000 * DAY_MS].map((delayMs) =>
      systemClock.startTimer(delayMs, () => fired++),
    )
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    const before = systemClock.nowMs()
    while (systemClock.nowMs() - before < 20) await new Promise(setImmediate)
    for (const cancel of cancels) cancel()
    expect(fired).to.equal(0)
  })

  it('a PEM of many beginnings cost hours (cert-manager CVE-2024-12401)', () => {
    const begun = '-----BEGIN CERTIFICATE-----\n'.repeat(10_000)
    expect(() => pemBlocks(begun, 'CERTIFICATE')).to.throw('cut off')
    const nested = `${begun}AAAA\n${'-----END CERTIFICATE-----\n'.repeat(10_000)}`
    expect(() => pemBlocks(nested, 'CERTIFICATE')).to.throw()
  })
})
