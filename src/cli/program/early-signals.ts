/**
 * Signals that come before the daemon listens for them end the program. The first process of a container has no
 * default action for them, so that one sent in the first moments would be lost. Imported before all else.
 */
const SIGNALS = { SIGTERM: 15, SIGINT: 2 } as const

const handlers = Object.entries(SIGNALS).map(([name, number]) => {
  // As a shell says that a signal ended a program.
  const end = (): void => process.exit(128 + number)
  process.on(name, end)
  return [name, end] as const
})

/** From now on somebody else listens. */
export function signalsAreHeard(): void {
  for (const [name, end] of handlers) process.off(name, end)
}
