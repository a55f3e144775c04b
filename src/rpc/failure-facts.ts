/**
 * Returns what a log may tell of an error of a handler: its class and where it was thrown. Its text is left out, as it may hold
 * what the handler was working on.
 */
export function failureFacts(error: unknown): { readonly reason: string; readonly cause: string } {
  if (!(error instanceof Error)) return { reason: typeof error, cause: '' }
  const frames = (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line))
  return { reason: error.constructor.name, cause: frames.map((line) => line.trim()).join('; ') }
}
