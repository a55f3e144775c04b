import { sign } from 'node:crypto'
import { auditKey } from '../../audit/audit-key.ts'
import type { Experiment } from './experiment.ts'

/** What `agent prove` has found, before it is signed. */
export interface ProofReport {
  readonly version: 1
  /** The reviewer's, so that an old report is no new one. */
  readonly nonce: string
  /** ISO 8601. */
  readonly at: string
  /** SPIFFE name of the agent, and version of the program. */
  readonly identity: string
  readonly program: string
  readonly experiments: readonly Experiment[]
  /** How far the record goes, by its head. */
  readonly record: { readonly lines: number; readonly head: string }
}

/** A report as it is handed over: its text, which is what was signed. */
export interface SignedReport {
  readonly report: string
  /** SHA-256 of the audit key (SubjectPublicKeyInfo), in hex. */
  readonly key: string
  /** Ed25519 over `postern proof 1`, a line feed, and the text; in base64. */
  readonly signature: string
}

/** Signs a report with the audit key of a record. @throws FILE_UNREADABLE, STATE_UNWRITABLE */
export function signReport(report: ProofReport, recordDirectory: string): SignedReport {
  const text = JSON.stringify(report, null, 2)
  const { privateKey, id } = auditKey(recordDirectory)
  const signature = sign(null, Buffer.from(`postern proof 1\n${text}`), privateKey)
  return { report: text, key: id, signature: signature.toString('base64') }
}
