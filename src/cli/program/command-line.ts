import yargs, { type Argv } from 'yargs'
import { flagName, variableName } from '../../config/load.ts'
import { PosternError } from '../../base/errors.ts'
import { VERSION } from '../../base/version.ts'
import type { Command, CommandGroup, CommandSettings, OptionTable } from './command.ts'

/** A command line that was read: what to run, and with which arguments. */
export interface ReadLine {
  readonly command: Command
  readonly args: Readonly<Record<string, unknown>>
}

/**
 * Reads a command line. Help and version are printed, and nothing is returned for them.
 * @throws USAGE
 */
export async function readCommandLine(
  name: string,
  epilogue: string,
  commands: readonly (Command | CommandGroup)[],
  line: readonly string[],
): Promise<ReadLine | undefined> {
  let read: ReadLine | undefined
  let parser = yargs([...line])
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
      lastOfRepeats(parsed, parser)
    }, true)
    .demandCommand(1, 'Name a command; --help lists them.')
    .recommendCommands()
    .exitProcess(false)
    .epilogue(epilogue)
    .fail((message, error: Error | undefined) => {
      // What yargs itself throws for a bad command line; anything else is a bug of ours.
      if (error !== undefined && error.name !== 'YError') throw error
      throw new PosternError('USAGE', error?.message ?? message)
    })
  const wantsHelp = line.some((word) => word === '--help' || word === '-h')
  const reading: Reading = {
    wantsHelp,
    onRead: (command, args) => {
      read = { command, args }
    },
  }
  for (const one of commands) parser = add(parser, one, reading)
  await parser.parseAsync()
  return read
}

interface Reading {
  /** yargs lays out the help of each command that it runs, shown or not: what is in none costs nothing. */
  readonly wantsHelp: boolean
  readonly onRead: (command: Command, args: ReadLine['args']) => void
}

function add(parser: Argv, one: Command | CommandGroup, reading: Reading): Argv {
  if (one.kind === 'command') {
    return parser.command(
      one.path,
      one.describe,
      (y) => withOptions(y, one, reading.wantsHelp),
      (args) => {
        reading.onRead(one, args)
      },
    )
  }
  const names = one.commands.map(({ path }) => path.split(' ')[0] ?? path)
  const demand = names.length > 1 ? 'Name one of' : 'Name it'
  return parser.command(one.path, one.describe, (y) =>
    one.commands
      .reduce((inner, each) => add(inner, each, reading), y)
      .demandCommand(1, `${demand}: ${names.join(', ')}.`),
  )
}

function withOptions(
  y: Argv,
  { path, settings, options, examples = [] }: Command,
  wantsHelp: boolean,
): Argv {
  if (settings !== undefined) addSettings(y, settings, wantsHelp)
  const positionals = new Set([...path.matchAll(/[<[]([\w-]+)[\]>]/g)].map(([, name]) => name))
  for (const [name, row] of Object.entries(options))
    if (positionals.has(name)) y.positional(name, positionalOf(row))
    else y.option(name, optionOf(row))
  for (const [line, purpose] of examples) y.example(line, purpose)
  return y
}

type Row = OptionTable[string]

function positionalOf({ describe, ...row }: Row) {
  return { type: 'string', describe, demandOption: 'required' in row } as const
}

function optionOf(row: Row) {
  const { describe, hidden = false, alias = [] } = row
  const shared = { describe, hidden, alias }
  if (row.type === 'boolean') return { ...shared, type: 'boolean', default: row.default } as const
  // yargs prints the type beside the choices, which say as much.
  const kind = row.choices === undefined ? { type: 'string' } : { choices: row.choices }
  const text = { ...shared, ...(kind as { type: 'string' }), requiresArg: true } as const
  if (row.type === 'strings')
    return { ...text, array: true, ...(row.required ? { demandOption: true } : { default: [] }) }
  return { ...text, demandOption: row.required ?? false, default: row.default }
}

/** One flag per setting, and --config. */
function addSettings(y: Argv, { table, shown }: CommandSettings, wantsHelp: boolean): void {
  // The command's own options come before those that it shares with others.
  y.group(['help', 'version'], 'Options:')
  for (const [key, setting] of Object.entries(table)) {
    const fallback = setting.defaultText === '' ? '' : ` [default: ${setting.defaultText}]`
    const describe = `${setting.describe} (${setting.kind}; ${variableName(key)})${fallback}`
    const hidden = !wantsHelp || (shown !== undefined && !shown.includes(key))
    const option = { type: 'string', describe, hidden, requiresArg: true } as const
    y.option(flagName(key), { ...option, group: 'Settings:' })
  }
  y.option('config', {
    type: 'string',
    describe:
      'YAML file with settings; flags and POSTERN_* variables go before it. (POSTERN_CONFIG)',
    group: 'Settings:',
    requiresArg: true,
  })
}

/** Of an option that takes one value, and is given again, the last one counts, as wrappers of commands expect. */
function lastOfRepeats(parsed: Record<string, unknown>, parser: unknown): void {
  // Not in its types: the options of the command at hand, by kind.
  const { array } = (parser as { getOptions(): { array: readonly string[] } }).getOptions()
  for (const [option, value] of Object.entries(parsed))
    if (option !== '_' && Array.isArray(value) && !array.includes(option))
      parsed[option] = value.at(-1)
}
