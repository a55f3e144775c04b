import { AGENT_COMMANDS } from '../../src/cli/agent/commands.ts'
import { GATEWAY_COMMANDS } from '../../src/cli/gateway/commands.ts'
import { runProgram } from '../../src/cli/program/program.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { LogRecorder } from './log-recorder.ts'
import { noteText } from './seen.ts'

export interface CliRun {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Of a command that lasts: what it says, and how to stop it. */
export interface CliHooks {
  readonly onResult?: (text: string) => void
  readonly onStart?: (stop: () => void) => void
}

/** Runs one command line in this process, with its own environment. */
export async function runCli(
  program: 'agent' | 'gateway',
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  hooks: CliHooks = {},
): Promise<CliRun> {
  const stdout: string[] = []
  const stderr: string[] = []
  const status = await runProgram(
    program,
    '',
    program === 'agent' ? AGENT_COMMANDS : GATEWAY_COMMANDS,
    args,
    {
      output: {
        result: (text) => {
          stdout.push(text)
          hooks.onResult?.(text)
        },
        note: (text) => stderr.push(text),
      },
      environment,
      nodeVersion: '26.1.0',
      ambient: () => ({ clock: systemClock, random: systemRandom, logger: new LogRecorder() }),
      onSignal: (callback) => {
        hooks.onStart?.(() => {
          callback('SIGINT')
        })
        return () => undefined
      },
      readStdin: () => Promise.resolve('{}'),
    },
  )
  noteText(stderr.join('\n'))
  return { status, stdout: stdout.join('\n'), stderr: stderr.join('\n') }
}
