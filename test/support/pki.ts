import type { KeyObject } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Authority,
  USAGE_CLIENT,
  USAGE_SERVER,
  type LeafRequest,
  type Validity,
} from '../../src/identity/authority.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { identityUri, type Identity } from '../../src/identity/name.ts'

export const TRUST_DOMAIN = 'test.postern.test'
export const GATEWAY = {
  role: 'gateway',
  trustDomain: TRUST_DOMAIN,
  region: 'r-1',
  gateway: 'gw-1',
} as const
export const AGENT = {
  role: 'agent',
  trustDomain: TRUST_DOMAIN,
  cluster: 'c-1',
  agent: 'a-1',
} as const
export const CALLER = { role: 'caller', trustDomain: TRUST_DOMAIN, caller: 'tester' } as const

const HOUR_MS = 3_600_000

/** A throw-away PKI in a folder of its own; every leaf in it can be made wrong in one respect. */
export class TestPki {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-test-'))
  readonly bundleFile = join(this.folder, 'bundle.pem')
  readonly #issuing: Authority
  #serial = 0

  private constructor(root: Authority, issuing: Authority) {
    this.#issuing = issuing
    writeFileSync(this.bundleFile, root.certificatePem)
  }

  static async create(): Promise<TestPki> {
    const validity = {
      notBefore: new Date(Date.now() - 30 * 24 * HOUR_MS),
      notAfter: new Date(Date.now() + 500 * 24 * HOUR_MS),
    }
    const root = await Authority.createRoot('test root', validity)
    return new TestPki(root, await root.createIssuing('test issuing', validity))
  }

  /** A certificate for a key that somebody else holds, and those above it but the root, in DER. */
  async certify(publicKey: KeyObject, identity: Identity, life: Validity): Promise<Buffer[]> {
    const certificate = await this.#issuing.issue(publicKey, {
      commonName: identity.role,
      uris: [identityUri(identity)],
      usage: [USAGE_CLIENT],
      ...life,
    })
    return [Buffer.from(certificate.rawData), this.#issuing.der]
  }

  /** Files of a leaf for an identity; `changes` makes it a wrong one. */
  async issue(identity: Identity, changes: Partial<LeafRequest> = {}): Promise<KeyFilePaths> {
    const isGateway = identity.role === 'gateway'
    const leaf = await this.#issuing.issueLeaf({
      commonName: identity.role,
      uris: [identityUri(identity)],
      dnsNames: isGateway ? ['localhost'] : [],
      usage: isGateway ? [USAGE_SERVER, USAGE_CLIENT] : [USAGE_CLIENT],
      notBefore: new Date(Date.now() - 300_000),
      notAfter: new Date(Date.now() + 6 * HOUR_MS),
      ...changes,
    })
    const base = join(this.folder, `${identity.role}-${String(++this.#serial)}`)
    writeFileSync(`${base}.pem`, `${leaf.certificatePem}${this.#issuing.certificatePem}`)
    writeFileSync(`${base}.key`, leaf.keyPem, { mode: 0o600 })
    return { certificateFile: `${base}.pem`, keyFile: `${base}.key`, bundleFile: this.bundleFile }
  }
}
