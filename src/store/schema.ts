import type { Generated } from 'kysely'

/** Times are milliseconds since 1970. Every row is small and none is ever changed to mean another. */
export interface Tables {
  tokens: TokenRow
  certificates: CertificateRow
  events: EventRow
  denials: Omit<DenialRow, 'id'> & { id: Generated<number> }
  revisions: RevisionRow
  roles: RoleRow
  authorities: AuthorityRow
  bundles: BundleRow
  agents: AgentRow
  cluster_agents: ClusterAgentRow
  run_events: Omit<RunEventRow, 'id'> & { id: Generated<number> }
}

/** A row of the table of join tokens; the token itself is in no column. */
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

/** A row of the table of certificates that were issued. */
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
  /** Its URI name; empty for agents' of the first version of this table. */
  identity: string
  /** Serial of the certificate that it descends from by renewals; of a first one its own. */
  lineage: string
}

/**
 * What is let in no more: one certificate by issuer and serial, every certificate of a key, or all that
 * an agent or a cluster (agent null) was given up to `at`. A lock holds back a whole cluster until it
 * is lifted. Never a fingerprint: a signature can be altered without breaking it.
 */
export type DenialKind = 'certificate' | 'key' | 'agent' | 'cluster' | 'lock'

/** A row of the table of denials. */
export interface DenialRow {
  id: number
  kind: DenialKind
  issuer: string | null
  serial: string | null
  spki: string | null
  cluster: string | null
  agent: string | null
  reason: string
  actor: string
  at: number
  lifted_at: number | null
  /** Of a certificate or key: all that descends from the same first certificate is denied too. Empty: none known. */
  lineage: string
}

/** Grows with each change of what it names, so that a running gateway sees what commands did. */
export interface RevisionRow {
  name: 'denials' | 'ca' | 'roles'
  number: number
}

/** `prepared`: trusted, issues nothing; `active`: issues; `previous`: trusted, issued before. */
export type AuthorityPhase = 'prepared' | 'active' | 'previous' | 'retired' | 'abandoned'

/** One generation of CAs: a root and the two issuing CAs under it, in a folder of ca.directory. */
export interface AuthorityRow {
  id: number
  folder: string
  phase: AuthorityPhase
  root_pin: string
  /** Key identifier of the issuing CA of agents, hex. */
  agents_key: string
  at: number
}

/** Which roots and issuing CAs a bundle holds, of a change under way: the old, both, the new. */
export type BundleContentKind = 'old' | 'both' | 'new'

/** Bundles are signed ahead, while the root is at hand; `current` is the one that agents are given. */
export interface BundleRow {
  version: number
  content: BundleContentKind
  state: 'ahead' | 'current' | 'past'
  /** SignedBundle, base64. */
  signed: string
}

/** What agents have acknowledged. */
export interface AgentRow {
  cluster: string
  agent: string
  bundle_version: number
  seen_at: number
}

/** The record of an agent as one gateway has seen it. */
export interface ClusterAgentRow {
  cluster: string
  agent: string
  gateway: string
  agent_version: string
  /** Network address that it last came from. */
  address: string
  first_at: number
  /** When it last registered, said something, or went. */
  seen_at: number
  /** Null while it is connected. */
  left_at: number | null
  left_code: string | null
  left_text: string | null
  /** LastReport in protobuf's JSON. */
  report: string
}

/** An event of a run, as an agent has told it. */
export interface RunEventRow {
  id: number
  cluster: string
  /** Counted within the cluster: the oldest go first. */
  place: number
  /** Bytes of the cluster's events up to this one and with it. */
  upto: number
  agent: string
  /** Drawn by the agent's process, and counted within it: what comes twice is kept once. */
  stream: string
  number: number
  run: string
  received_at: number
  /** RunEvent in protobuf's JSON. */
  event: string
}

/** A row of the table of roles. */
export interface RoleRow {
  name: string
  /** For whom, and what they may use, in JSON: `members`, `clusters`, `methods`, `services`. */
  rules: string
  made_at: number
  made_by: string
}

/** A row of the record of events. */
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
