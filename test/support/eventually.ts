/** Waits for something to come true on a real machine, with a deadline. For integration tests alone. */
export async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  deadlineMs = 10_000,
): Promise<T> {
  const endAtMs = Date.now() + deadlineMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > endAtMs) throw new Error(`not within ${String(deadlineMs)} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
