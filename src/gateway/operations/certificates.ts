import { PosternError } from '../../base/errors.ts'
import { makeSigningRequest, readSigningRequest } from '../../identity/csr.ts'
import { makeKey, privatePem, type KeyKind } from '../../identity/keys.ts'
import { isLabel } from '../../identity/name.ts'
import { certificatePem } from '../../identity/pem.ts'
import { readCertificate } from '../../identity/validation/validation.ts'
import { credentialsOfRow, revokeWithRenewals } from '../access/access.ts'
import {
  certificateOfSerial,
  issuerOf,
  listCertificates,
  type ListedCertificate,
} from '../ca/ca.ts'
import type { Operator, StoreTools } from './store-tools.ts'

const SERIAL = /^[0-9a-f]{6,40}$/
const PIN = /^sha256:[0-9a-f]{64}$/
const REASON_CHARS_MAX = 200

/** A certificate of the store: whose it is, its state, and what it was issued for. */
export interface CertificateRecord {
  readonly serial: string
  /** Key identifier of the CA that issued it. */
  readonly issuer: string
  /** cluster/agent, or the path of its URI name. */
  readonly name: string
  readonly state: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly issuedAtMs: number
  /** The grounds that it was issued on. */
  readonly grant: string
  /** sha256:HEX of its SubjectPublicKeyInfo. */
  readonly key: string
}

/** Lists certificates. `all`: those that have expired or been superseded too. */
export async function certificateRecords(
  { records, denials }: StoreTools,
  filter: { readonly cluster?: string | undefined; readonly agent?: string | undefined },
  all: boolean,
  nowMs: number,
): Promise<CertificateRecord[]> {
  const live = all ? {} : { liveAtMs: nowMs }
  const rows = await listCertificates({ ...filter, ...live }, records.database)
  return rows.map((row) => {
    const denial = denials.denialOf(credentialsOfRow(row))
    const denied = denial?.code === 'CLUSTER_LOCKED' ? 'locked' : 'revoked'
    const own = row.not_after <= nowMs ? 'expired' : row.state
    return {
      serial: row.serial,
      issuer: row.issuer,
      name: nameOf(row),
      state: denial === undefined ? own : denied,
      notBeforeMs: row.not_before,
      notAfterMs: row.not_after,
      issuedAtMs: row.issued_at,
      grant: row.grant,
      key: row.spki,
    }
  })
}

/** What is to be let in no more: exactly one of the three, an agent with its cluster only. */
export interface RevokeRequest {
  /** Six or more hex digits, the beginning of a serial. */
  readonly serial?: string | undefined
  /** sha256:HEX of a SubjectPublicKeyInfo. */
  readonly key?: string | undefined
  readonly cluster?: string | undefined
  readonly agent?: string | undefined
  readonly reason: string
}

/** What a revocation has cut off. */
export interface Revoked {
  readonly what: 'certificate' | 'key' | 'holder'
  /** Serial, key, "cluster NAME" or cluster/agent. */
  readonly name: string
  /** Of a certificate: whose it was. */
  readonly holder: string
  /** Certificates renewed from it, which fell with it. */
  readonly renewed: number
}

/** Lets a certificate, a key, an agent or a cluster in no more, with all that was renewed from it, in one transaction. @throws USAGE, NOT_KNOWN */
export async function revoke(
  { records, denials }: StoreTools,
  { serial, key, cluster, agent, reason }: RevokeRequest,
  { actor, nowMs }: Operator,
): Promise<Revoked> {
  const ways = [serial, key, cluster].filter((way) => way !== undefined)
  if (ways.length !== 1 || (agent !== undefined && cluster === undefined)) {
    const text = 'name one of: a serial, --key, or --cluster with or without --agent'
    throw new PosternError('USAGE', text)
  }
  const order = { reason: reason.slice(0, REASON_CHARS_MAX), actor, nowMs }
  if (serial !== undefined) {
    if (!SERIAL.test(serial))
      throw new PosternError('USAGE', 'a serial is 6 or more hex digits, in lower case')
    const row = await certificateOfSerial(serial, records.database)
    const renewed = await revokeWithRenewals({ records, denials }, { certificate: row }, order)
    return { what: 'certificate', name: row.serial, holder: nameOf(row), renewed }
  }
  if (key !== undefined) {
    if (!PIN.test(key)) throw new PosternError('USAGE', '--key is sha256: and 64 hex digits')
    const renewed = await revokeWithRenewals({ records, denials }, { key }, order)
    return { what: 'key', name: key, holder: '', renewed }
  }
  const rows = await listCertificates({ cluster, agent }, records.database)
  const name = agent === undefined ? `cluster ${cluster ?? ''}` : `${cluster ?? ''}/${agent}`
  if (rows.length === 0)
    throw new PosternError('NOT_KNOWN', `no certificate was ever issued to ${name}`)
  const kind = agent === undefined ? ('cluster' as const) : ('agent' as const)
  await denials.deny({ kind, cluster: cluster ?? '', agent: agent ?? null }, order)
  return { what: 'holder', name, holder: name, renewed: 0 }
}

/** A caller's new key and certificate; the key is in no store. */
export interface IssuedCaller {
  readonly keyPem: string
  /** With the chain up to the root. */
  readonly chainPem: string
  readonly bundlePem: string
  readonly serial: string
  readonly notAfterMs: number
}

/** Makes a key and a certificate for a control-plane service that calls clusters. @throws USAGE, CONFIG_INVALID, and what reading the CAs throws */
export async function issueCaller(
  tools: StoreTools,
  request: {
    readonly caller: string
    /** Where it runs; undefined: the certificate does not say. */
    readonly region?: string | undefined
    readonly keyKind: KeyKind
    readonly lifetimeMs: number
  },
  { actor, nowMs }: Operator,
): Promise<IssuedCaller> {
  const { caller, region, keyKind, lifetimeMs } = request
  judgeCaller(caller, region)
  const authorities = await tools.authorities()
  const issuer = issuerOf({ ...tools, authorities })
  const key = await makeKey(keyKind)
  const signingRequest = readSigningRequest(makeSigningRequest(key))
  const der = await issuer.issueCaller({ caller, region }, signingRequest, {
    actor,
    nowMs,
    lifetimeMs,
  })
  const { serial, notAfterMs } = readCertificate(der)
  return {
    keyPem: privatePem(key),
    chainPem: [der, ...issuer.activeChain].map(certificatePem).join(''),
    bundlePem: authorities.bundle.pem,
    serial: serial.toString('hex'),
    notAfterMs,
  }
}

/** Judges the name of a service that is to call clusters. @throws USAGE where a service cannot have this name */
export function judgeCaller(caller: string, region?: string): void {
  const form = 'must be 1 to 63 of a-z, 0-9 and inner hyphens'
  if (!isLabel(caller)) throw new PosternError('USAGE', `--caller ${form}`)
  if (region !== undefined && !isLabel(region)) throw new PosternError('USAGE', `--region ${form}`)
}

function nameOf({
  cluster,
  agent,
  identity,
}: Pick<ListedCertificate, 'cluster' | 'agent' | 'identity'>): string {
  return cluster === '' ? identity.replace(/^spiffe:\/\/[^/]+\//, '') : `${cluster}/${agent}`
}
