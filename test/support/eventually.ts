/** Far beyond what any machine needs, however busy: it ends a test that would never end, and measures nothing. */
const DEADLINE_MS = 120_000

/** Waits for something to come true on a real machine. For integration tests alone. */
export async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
): Promise<T> {
  const endAtMs = Date.now() + DEADLINE_MS
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > endAtMs) throw new Error(`not within ${String(DEADLINE_MS)} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
