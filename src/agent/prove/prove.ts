import type { Experiment } from './experiment.ts'
import type { ProverPorts } from './prover.ts'

/** Makes experiments on a running agent. What it needs is read when the first is asked for. */
export class LateProver {
  readonly #ports: ProverPorts

  constructor(ports: ProverPorts) {
    this.#ports = ports
  }

  /** `marker`: a text that occurs nowhere else; it goes through the agent as a relayed call does. `withLockdown`: also what ends all calls. */
  async run(marker: string, withLockdown: boolean): Promise<readonly Experiment[]> {
    const { Prover } = await import('./prover.ts')
    return await new Prover(this.#ports).run(marker, withLockdown)
  }
}

export type { ProofReport, SignedReport } from './signed-report.ts'
export { notShown, shown, type Experiment, type ProofOutcome } from './experiment.ts'
