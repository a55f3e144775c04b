import type { Generated } from 'kysely'

/** Times are milliseconds since 1970. Every row is small and none is ever changed to mean another. */
export interface Tables {
  tokens: TokenRow
  certificates: CertificateRow
  events: EventRow
}

export interface TokenRow {
  /** Public part of the token. */
  id: string
  /** SHA-256 of the whole token, hex. */
  hash: string
  cluster: string
  /** Agent that it enrols; null lets each use make one of its own. */
  agent: string | null
  uses_left: number
  created_at: number
  expires_at: number
  revoked_at: number | null
}

/** `pending` until its first use, `current` then, `superseded` once a later one was used. */
export type CertificateState = 'pending' | 'current' | 'superseded'

export interface CertificateRow {
  /** Subject key identifier of the issuer, hex, and the serial, hex: what names a certificate. */
  issuer: string
  serial: string
  cluster: string
  agent: string
  /** Pin of its key. */
  spki: string
  not_before: number
  not_after: number
  issued_at: number
  state: CertificateState
  /** Token or certificate that it was issued for. */
  grant: string
  /** The certificate in DER, base64. */
  der: string
}

export interface EventRow {
  id: Generated<number>
  at: number
  /** Such as certificate.issued, token.created, enrolment.refused. */
  kind: string
  /** Who did it: an identity, a token, or the user of a command. */
  actor: string
  /** Whom it is about. */
  identity: string | null
  serial: string | null
  /** Network address that it came from. */
  address: string | null
  detail: string | null
}
