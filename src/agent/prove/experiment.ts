/** What an experiment came to: the promise holds, it does not, or nothing was shown either way. */
export type ProofOutcome = 'PASS' | 'FAIL' | 'NOT SHOWN'

/** One promise, the experiment that was made of it on this installation, and what was seen. */
export interface Experiment {
  /** A word for programs. */
  readonly name: string
  /** The promise, in words. */
  readonly promise: string
  readonly outcome: ProofOutcome
  /** What was seen. */
  readonly evidence: string
}

/** Makes an experiment that has shown its promise, or its contrary. */
export function shown(name: string, promise: string, holds: boolean, evidence: string): Experiment {
  return { name, promise, outcome: holds ? 'PASS' : 'FAIL', evidence }
}

/** Makes an experiment that has shown nothing. `why`: what stood in its way. */
export function notShown(name: string, promise: string, why: string): Experiment {
  return { name, promise, outcome: 'NOT SHOWN', evidence: why }
}
