import { PosternError } from '../../base/errors.ts'
import { isLabel } from '../../identity/name.ts'
import { listCertificates } from '../ca/ca.ts'
import type { Operator, StoreTools } from './store-tools.ts'

const REASON_CHARS_MAX = 200

/** What locking a cluster found. */
export interface Locked {
  /** It was locked before, and nothing was done. */
  readonly wasLocked: boolean
  /** A certificate was issued to it once. */
  readonly isKnown: boolean
}

/** Cuts the tunnels of a cluster, and lets none of its agents in, enroll or renew, until it is unlocked. @throws USAGE */
export async function lockCluster(
  { records, denials }: StoreTools,
  cluster: string,
  { actor, nowMs, reason }: Operator & { readonly reason: string },
): Promise<Locked> {
  judgeName(cluster)
  const known = await listCertificates({ cluster }, records.database)
  const found = { isKnown: known.length > 0, wasLocked: denials.isLocked(cluster) }
  if (found.wasLocked) return found
  const order = { reason: reason.slice(0, REASON_CHARS_MAX), actor, nowMs }
  await denials.deny({ kind: 'lock', cluster }, order)
  return found
}

/** Lets the agents of a cluster in again, with the certificates that they have. @throws USAGE, NOT_KNOWN */
export async function unlockCluster(
  { denials }: StoreTools,
  cluster: string,
  { actor, nowMs }: Operator,
): Promise<void> {
  judgeName(cluster)
  await denials.unlock(cluster, { reason: 'unlocked', actor, nowMs })
}

function judgeName(cluster: string): void {
  if (isLabel(cluster)) return
  throw new PosternError('USAGE', 'a cluster is named by 1 to 63 of a-z, 0-9 and inner hyphens')
}
