/** Whether a number that a peer told is an amount: neither negative nor infinite, nor no number at all. */
export function isAmount(value: number | undefined): boolean {
  return value !== undefined && Number.isFinite(value) && value >= 0
}
