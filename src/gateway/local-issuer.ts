import type { Random } from '../base/random.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { Authorities } from './authorities.ts'
import type { Denials } from './denials.ts'
import { Issuer } from './issuer.ts'
import { JwtJoin } from './jwt-join.ts'
import type { Records } from './records/records.ts'
import { Tokens } from './tokens.ts'

export interface IssuerTools {
  readonly settings: GatewaySettings
  readonly records: Records
  readonly denials: Denials
  readonly authorities: Authorities
  readonly random: Random
}

/** The issuer of a gateway with these settings: of the daemon, and of commands beside it. */
export function issuerOf({ settings, records, denials, authorities, random }: IssuerTools): Issuer {
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
