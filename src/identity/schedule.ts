import { createHash } from 'node:crypto'

/** Part of a life after which it is renewed: from the one to the other, by a hash of the serial. */
const RENEW_FROM = 0.5
const RENEW_SPREAD = 0.16
/** Certificates begin this much before they are issued, for clocks that are behind; no part of their life. */
export const BACKDATE_MS = 5 * 60_000
const RETRY_MS = { min: 5000, max: 5 * 60_000 }
/** Part of what is left of a life that a retry waits at most. */
const RETRY_OF_REMAINING = 1 / 20

/** The serial and validity that a renewal is planned by. */
export interface Life {
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/**
 * When a certificate is due for renewal, in wall-clock ms: a pure function of the certificate, so
 * that restarts change nothing and a fleet made at once does not come back at once.
 */
export function renewAtMs({ serial, notBeforeMs, notAfterMs }: Life): number {
  const spread = createHash('sha256').update(serial).digest().readUInt32BE(0) / 2 ** 32
  const span = notAfterMs - notBeforeMs
  const from = notBeforeMs + Math.min(BACKDATE_MS, span / 10)
  return from + (notAfterMs - from) * (RENEW_FROM + RENEW_SPREAD * spread)
}

/**
 * How long to wait after the Nth failed try (from 1), in ms: growing and jittered, and shorter again
 * as the end of the life nears. `fraction` is uniform in [0, 1).
 */
export function retryMs(tries: number, remainingMs: number, fraction: number): number {
  const { min, max } = RETRY_MS
  const grown = Math.min(max, min * 2 ** Math.min(tries - 1, 20))
  const bounded = remainingMs > 0 ? Math.min(grown, remainingMs * RETRY_OF_REMAINING) : grown
  return Math.max(min, bounded * (0.5 + fraction / 2))
}
