import { countsOf } from '../../base/counts.ts'
import type { Random } from '../../base/random.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { Records } from '../../store/records.ts'
import type { Access, Denials } from '../access/access.ts'
import { Authorities } from './authorities.ts'
import { Crls } from './crls.ts'
import { Issuer } from './issuer.ts'
import { JwtJoin } from './jwt-join.ts'
import type { OwnIdentity } from './own-identity.ts'
import { Tokens } from './tokens.ts'

/** The values and collaborators that CertificateAuthority is given. */
export interface CertificateAuthorityPorts {
  readonly settings: GatewaySettings
  readonly directory: string
  readonly access: Access
  readonly protection: KeyProtection
  /** What the gateway trusted before the store knew of any bundle. */
  readonly initialBundlePem: string
  readonly ambient: Ambient
}

/** The issuing CAs, and how many generations are in each phase. Times in wall-clock ms. */
export interface CaReport {
  readonly agentsNotAfterMs: number
  readonly gatewaysNotAfterMs: number
  readonly generations: ReadonlyMap<string, number>
}

/** The CA of a gateway: its authorities as they stand in the store, what they issue, and whom they revoke. */
export class CertificateAuthority {
  readonly authorities: Authorities
  readonly issuer: Issuer
  readonly crls: Crls

  constructor(ports: CertificateAuthorityPorts) {
    const { settings, directory, access, protection, initialBundlePem, ambient } = ports
    const { records, denials } = access
    const { trustDomain } = settings
    const { clock, random } = ambient
    const where = { records, directory, protection, trustDomain, initialBundlePem }
    this.authorities = new Authorities(where)
    this.crls = new Crls(this.authorities, denials, clock)
    const { authorities } = this
    this.issuer = issuerOf({ settings, records, denials, authorities, random })
  }

  /** How the issuing CAs are. */
  report(): CaReport {
    const { active, rows } = this.authorities
    return {
      agentsNotAfterMs: active.agents.certificate.notAfter.getTime(),
      gatewaysNotAfterMs: active.gateways.certificate.notAfter.getTime(),
      generations: countsOf(rows.map(({ phase }) => phase)),
    }
  }

  /** Certificates of an issuer with this key are let in no more. */
  isRetired(issuer: string): boolean {
    return this.authorities.isRetired(issuer)
  }
}

/** The CA of the settings; undefined where they name none. */
export function caOf(
  settings: GatewaySettings,
  own: OwnIdentity,
  access: Access | undefined,
  ambient: Ambient,
): CertificateAuthority | undefined {
  const directory = settings['ca.directory']
  if (directory === undefined || access === undefined) return undefined
  const protection = protectionOf(settings)
  const initialBundlePem = own.credential.bundlePem
  const ports = { settings, directory, access, protection, initialBundlePem, ambient }
  return new CertificateAuthority(ports)
}

/** The store, CAs and settings that an issuer is made of. */
export interface IssuerOfPorts {
  readonly settings: GatewaySettings
  readonly records: Records
  readonly denials: Denials
  readonly authorities: Authorities
  readonly random: Random
}

/** The issuer of a gateway with these settings: of the daemon, and of commands beside it. */
export function issuerOf({
  settings,
  records,
  denials,
  authorities,
  random,
}: IssuerOfPorts): Issuer {
  return new Issuer({
    authorities,
    trustDomain: settings.trustDomain,
    leafLifetimeMs: settings['enroll.leafLifetime'],
    expiredGraceMs: settings['enroll.expiredGrace'],
    records,
    denials,
    tokens: new Tokens(records, random),
    jwtJoin: new JwtJoin(settings['enroll.jwt']),
    random,
  })
}
