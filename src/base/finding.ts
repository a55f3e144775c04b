/** How something stands. `WARN`: it holds, and could be better. `UNKNOWN`: nothing tells, and nothing is guessed. */
export type Outcome = 'OK' | 'WARN' | 'FAIL' | 'UNKNOWN'

/** One line of a posture: what was looked at, and what was seen. */
export interface Finding {
  /** Such as "object store", in the words of the table for reviewers. */
  readonly area: string
  /** Which of them: the name of a row, a path. */
  readonly subject: string
  /** What of it, such as "encryption at rest". */
  readonly check: string
  readonly outcome: Outcome
  readonly evidence: string
}

/** What was seen of one thing. */
export type Seen = Omit<Finding, 'area' | 'subject'>

/** Makes a finding of one check. */
export function seen(check: string, outcome: Outcome, evidence: string): Seen {
  return { check, outcome, evidence }
}

/** Puts findings under what they are about. */
export function about(area: string, subject: string, list: readonly Seen[]): Finding[] {
  return list.map((one) => ({ area, subject, ...one }))
}
