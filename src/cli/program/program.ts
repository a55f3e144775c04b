import { ERROR_CODES } from '../../base/error-codes.ts'
import { PosternError } from '../../base/errors.ts'
import { RpcError } from '../../rpc/status.ts'
import type { Surroundings } from './ambient.ts'
import type { Command, CommandGroup } from './command.ts'
import { readCommandLine } from './command-line.ts'
import { judgeEnvironment } from './environment.ts'

const FAILED = 1

/** Parses, runs one command, and turns any error into a line on stderr and an exit status. */
export async function runProgram(
  name: string,
  epilogue: string,
  commands: readonly (Command | CommandGroup)[],
  line: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { output } = surroundings
  try {
    judgeEnvironment(surroundings.environment, surroundings.nodeVersion)
    const read = await readCommandLine(name, epilogue, commands, line)
    // Its arguments are those of its own options: readCommandLine has judged them by their table.
    return read === undefined ? 0 : await read.command.run(read.args as never, surroundings)
  } catch (error) {
    output.note(`${name}: ${describeError(error)}`)
    return exitStatus(error)
  }
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

export type { DaemonAmbient, Surroundings } from './ambient.ts'
export {
  command,
  type ArgumentsOf,
  type Command,
  type CommandGroup,
  group,
  JSON_OPTION,
  type OptionTable,
} from './command.ts'
export { configCommand, settingsJson } from './config-command.ts'
export { humanBytes, humanSpan, type Output, processOutput, table } from './output.ts'
export { type SettingsArguments, settingsOf } from './settings-options.ts'
export { processSurroundings } from './surroundings.ts'
