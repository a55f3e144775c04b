import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { reporters, Runner, type MochaOptions } from 'mocha'

/** After this long a process with nothing left to test is ended, and what kept it is named. */
const LINGER_MS = 60_000

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
      setTimeout(() => {
        process.stderr.write(`a test has left this behind:\n${keptBy().join('\n')}\n`)
        process.exit(failures > 0 ? 1 : 0)
      }, LINGER_MS).unref()
    })
  }
}

/** What keeps the process alive, a line each. */
function keptBy(): string[] {
  // Not in Node's types: `getActiveResourcesInfo` tells kinds alone.
  const open = process as unknown as { _getActiveHandles(): object[] }
  const handles = open._getActiveHandles().map((handle) => {
    const { spawnargs } = handle as Partial<ChildProcess>
    const { localPort, remotePort } = handle as Partial<Socket>
    return `${handle.constructor.name} ${JSON.stringify({ spawnargs, localPort, remotePort })}`
  })
  return [process.getActiveResourcesInfo().join(' '), ...handles]
}
