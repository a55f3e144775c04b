import type { SettingsTable } from '../../config/setting.ts'
import type { Surroundings } from './ambient.ts'
import type { SettingsArguments } from './settings-options.ts'

interface OptionRow {
  /** Text of the help. */
  readonly describe: string
  /** Not in the help. Default false. */
  readonly hidden?: true
  /** Second name of the option. */
  readonly alias?: string
}

/** An option with one value. */
interface TextRow extends OptionRow {
  readonly type: 'string'
  readonly choices?: readonly string[]
  readonly required?: true
  readonly default?: string
}

/** An option with any number of values; none is an empty list. */
interface ListRow extends OptionRow {
  readonly type: 'strings'
  readonly choices?: readonly string[]
  readonly required?: true
}

/** An option that is given or not, `--no-NAME` being its opposite. */
interface FlagRow extends OptionRow {
  readonly type: 'boolean'
  readonly default: boolean
}

/** The options of a command by name, in the order of the help; those that its path names are positional. */
export type OptionTable = Readonly<Record<string, TextRow | ListRow | FlagRow>>

type OneOf<Row> = Row extends { readonly choices: readonly (infer Choice)[] } ? Choice : string

type ValueOf<Row> = Row extends { readonly type: 'boolean' }
  ? boolean
  : Row extends { readonly type: 'strings' }
    ? readonly OneOf<Row>[]
    : Row extends { readonly required: true } | { readonly default: string }
      ? OneOf<Row>
      : OneOf<Row> | undefined

/** What a command line says for the options of a table. */
export type ArgumentsOf<Options> = { readonly [Name in keyof Options]: ValueOf<Options[Name]> }

/** The settings that a command takes as flags, beside `--config`. */
export interface CommandSettings {
  readonly table: SettingsTable
  /** The keys that the help shows. Default: all. */
  readonly shown?: readonly string[]
}

interface CommandOf<Options> {
  /** Name, then its positional options: `<needed>`, `[optional]`. */
  readonly path: string
  readonly describe: string
  readonly settings?: CommandSettings
  readonly options: Options
  /** Command lines with what each is for. */
  readonly examples?: readonly (readonly [string, string])[]
  /** Resolves to the exit status. @throws PosternError, RpcError: told on stderr, with the exit status of its code */
  run(
    args: ArgumentsOf<Options> & SettingsArguments,
    surroundings: Surroundings,
  ): Promise<number> | number
}

/** One command as data: what it is called, which options it takes, and what it does. */
export interface Command extends Omit<CommandOf<OptionTable>, 'run'> {
  readonly kind: 'command'
  run(args: never, surroundings: Surroundings): Promise<number> | number
}

/** Commands under one word, one of which must be named. */
export interface CommandGroup {
  readonly kind: 'group'
  readonly path: string
  readonly describe: string
  readonly commands: readonly (Command | CommandGroup)[]
}

/** Makes a command whose `run` knows the types of its options. */
export function command<const Options extends OptionTable>(parts: CommandOf<Options>): Command {
  return { kind: 'command', ...parts }
}

/** Makes a group of commands. */
export function group(parts: Omit<CommandGroup, 'kind'>): CommandGroup {
  return { kind: 'group', ...parts }
}

/** `--json`, of commands that answer with one object. */
export const JSON_OPTION = {
  json: { type: 'boolean', default: false, describe: 'Print one JSON object.' },
} as const satisfies OptionTable
