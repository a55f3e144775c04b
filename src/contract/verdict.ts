/** The verdicts that a gateway gives on a certificate, to whoever proves to hold its key. */
export const VERDICTS = [
  'fine',
  'expired',
  'not-yet-valid',
  'unknown-issuer',
  'superseded',
  'revoked',
  'locked',
] as const
/** The verdict of a gateway on a certificate. */
export type Verdict = (typeof VERDICTS)[number]
