import yargs from 'yargs'
import { ERROR_CODES } from '../../base/error-codes.ts'
import { PosternError } from '../../base/errors.ts'
import { VERSION } from '../../base/version.ts'
import { RpcError } from '../../rpc/status.ts'
import type { AddCommand, Surroundings } from './command.ts'
import { judgeEnvironment } from './environment.ts'

const FAILED = 1

/** Parses, runs one command, and turns any error into a line on stderr and an exit status. */
export async function runProgram(
  name: string,
  epilogue: string,
  commands: readonly AddCommand[],
  args: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { output } = surroundings
  try {
    judgeEnvironment(surroundings.environment, surroundings.nodeVersion)
    let status: Promise<number> | undefined
    let program = yargs([...args])
      .scriptName(name)
      .usage('$0 <command> [options]')
      .version(VERSION)
      .help()
      .alias('help', 'h')
      .strict()
      .wrap(100)
      .parserConfiguration({
        'duplicate-arguments-array': true,
        'camel-case-expansion': false,
        'parse-numbers': false,
      })
      .middleware((parsed) => {
        lastOfRepeats(parsed, program)
      }, true)
      .demandCommand(1, 'Name a command; --help lists them.')
      .recommendCommands()
      .exitProcess(false)
      .epilogue(epilogue)
      .fail((message, error: Error | undefined) => {
        // What yargs itself throws for a bad command line; anything else is from a command of ours.
        if (error !== undefined && error.name !== 'YError') throw error
        throw new PosternError('USAGE', error?.message ?? message)
      })
    for (const add of commands) {
      program = add(program, surroundings, (result) => {
        status = result
      })
    }
    await program.parseAsync()
    return status === undefined ? 0 : await status
  } catch (error) {
    output.note(`${name}: ${describeError(error)}`)
    return exitStatus(error)
  }
}

/** Of an option that takes one value, and is given again, the last one counts, as wrappers of commands expect. */
function lastOfRepeats(parsed: Record<string, unknown>, program: unknown): void {
  // Not in its types: the options of the command at hand, by kind.
  const { array } = (program as { getOptions(): { array: readonly string[] } }).getOptions()
  for (const [option, value] of Object.entries(parsed))
    if (option !== '_' && Array.isArray(value) && !array.includes(option))
      parsed[option] = value.at(-1)
}

function describeError(error: unknown): string {
  if (error instanceof PosternError && error.code === 'USAGE')
    return `${error.rawMessage}\nTry --help.`
  if (error instanceof PosternError || error instanceof RpcError) return error.message
  return `[INTERNAL] ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
}

/** Returns the exit status of a program that ended with an error. */
export function exitStatus(error: unknown): number {
  if (error instanceof PosternError) return ERROR_CODES[error.code].exit
  return error instanceof RpcError ? FAILED : ERROR_CODES.INTERNAL.exit
}

export type { AddCommand, DaemonAmbient, Surroundings } from './command.ts'
export { configCommand, settingsJson } from './config-command.ts'
export { humanBytes, humanSpan, type Output, processOutput, table } from './output.ts'
export {
  addSettings,
  addStoreSettings,
  type SettingsArguments,
  settingsOf,
} from './settings-options.ts'
export { processSurroundings } from './surroundings.ts'
