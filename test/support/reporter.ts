import { reporters, Runner, type MochaOptions } from 'mocha'

/** Mocha's spec output, ended by the one line that CI reads: `N passed, N failed, N skipped`. */
export default class ClosingLineReporter extends reporters.Spec {
  constructor(runner: Runner, options: MochaOptions) {
    super(runner, options)
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats
      // After the summary of Spec, which is printed in its own listener of the same event.
      setImmediate(() => {
        process.stdout.write(
          `${String(passes)} passed, ${String(failures)} failed, ${String(pending)} skipped\n`,
        )
      })
    })
  }
}
