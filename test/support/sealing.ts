import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Authority, USAGE_CLIENT } from '../../src/identity/authority.ts'
import { privatePem, publicDer, spkiPin } from '../../src/identity/keys.ts'
import { identityUri, type Identity } from '../../src/identity/name.ts'
import type { SealingFiles } from '../../src/seal/sealing-key.ts'

const HOUR_MS = 3_600_000
let made = 0

/** A key of its own for sealed sessions. */
export function sealingKey(folder: string, name: string): SealingFiles & { pin: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const keyFile = join(folder, `${name}.key`)
  writeFileSync(keyFile, privatePem(privateKey), { mode: 0o600 })
  return { keyFile, certificateFile: undefined, pin: spkiPin(publicDer(privateKey)) }
}

/** A CA of the customer's, outside of the vendor's. */
export class CustomerCa {
  readonly caFile: string
  readonly authority: Authority
  #count = 0
  /** Serial of the last leaf, in hex. */
  lastSerial = ''

  private constructor(folder: string, authority: Authority) {
    this.authority = authority
    this.caFile = join(folder, `customer-${String(++made)}.pem`)
    writeFileSync(this.caFile, authority.certificatePem)
  }

  static async create(folder: string): Promise<CustomerCa> {
    const notBefore = new Date(Date.now() - HOUR_MS)
    const validity = { notBefore, notAfter: new Date(Date.now() + 1000 * HOUR_MS) }
    return new CustomerCa(folder, await Authority.createRoot('customer root', validity))
  }

  /** Files of a leaf for an identity. */
  async issue(identity: Identity, lifeMs = HOUR_MS): Promise<SealingFiles> {
    const leaf = await this.authority.issueLeaf({
      commonName: identity.role,
      uris: [identityUri(identity)],
      usage: [USAGE_CLIENT],
      notBefore: new Date(Date.now() - HOUR_MS),
      notAfter: new Date(Date.now() + lifeMs),
    })
    this.lastSerial = new X509Certificate(leaf.certificatePem).serialNumber.toLowerCase()
    const base = `${this.caFile}-${String(++this.#count)}`
    writeFileSync(`${base}.pem`, leaf.certificatePem)
    writeFileSync(`${base}.key`, leaf.keyPem, { mode: 0o600 })
    return { keyFile: `${base}.key`, certificateFile: `${base}.pem` }
  }
}
