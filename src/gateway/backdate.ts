/** Certificates are issued this much before their time, for clocks that are behind ours; in ms. */
export const BACKDATE_MS = 5 * 60_000
