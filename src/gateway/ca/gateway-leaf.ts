import { createPublicKey, type KeyObject } from 'node:crypto'
import { USAGE_SERVER, type Authority } from '../../identity/authority.ts'
import type { Generations } from '../../identity/generations.ts'
import { KeyProtection } from '../../identity/key-protection.ts'
import { makeKey, type KeyKind } from '../../identity/keys.ts'
import { identityUri, type Identity } from '../../identity/name.ts'
import { pemText } from '../../identity/pem.ts'
import { BACKDATE_MS } from '../../identity/schedule.ts'

/** A gateway renews itself, so that a week is plenty; it may also have been off for longer. */
const GATEWAY_MS = 7 * 86_400_000

/** The identity of a gateway. */
export type GatewayIdentity = Extract<Identity, { role: 'gateway' }>

/** The names and key kind of a gateway's next certificate. */
export interface GatewayLeafRequest {
  readonly identity: GatewayIdentity
  readonly dnsNames: readonly string[]
  readonly keyKind: KeyKind
}

/** A gateway's new leaf certificate in DER, and its private key. */
export interface GatewayLeaf {
  readonly key: KeyObject
  readonly der: Buffer
}

/** A new key, and its certificate from the issuing CA of gateways. */
export async function makeGatewayLeaf(
  { identity, dnsNames, keyKind }: GatewayLeafRequest,
  authority: Authority,
  nowMs: number,
): Promise<GatewayLeaf> {
  const key = await makeKey(keyKind)
  const certificate = await authority.issue(createPublicKey(key), {
    commonName: `gateway ${identity.gateway} in ${identity.region}`,
    uris: [identityUri(identity)],
    dnsNames,
    usage: [USAGE_SERVER],
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + GATEWAY_MS),
  })
  return { key, der: Buffer.from(certificate.rawData) }
}

/** The chain, bundle and key protection that a gateway's certificate is installed with. */
export interface InstallLeafOptions {
  /** What is sent behind the leaf, in DER. */
  readonly chain: readonly Buffer[]
  readonly bundle: { readonly pem: string; readonly version: number }
  readonly nowMs: number
  readonly protection?: KeyProtection | undefined
}

/** Writes a gateway's certificate, key, chain and bundle as its next generation. @throws STATE_UNWRITABLE */
export async function installLeaf(
  generations: Generations,
  { key, der }: GatewayLeaf,
  { chain, bundle, nowMs, protection = new KeyProtection() }: InstallLeafOptions,
): Promise<void> {
  const chainPem = [der, ...chain].map((one) => pemText('CERTIFICATE', one)).join('')
  const keyPem = await protection.seal(key)
  const trust = { version: bundle.version, issuingKeys: [] }
  const generation = { key, keyPem, chainPem, bundlePem: bundle.pem, trust }
  generations.install(generation, nowMs)
}
