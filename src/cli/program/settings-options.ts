import type { Argv } from 'yargs'
import { flagName, loadSettings, variableName, type Loaded } from '../../config/load.ts'
import type { SettingsTable } from '../../config/setting.ts'

/** The arguments of a command line, by option. */
export interface SettingsArguments {
  readonly config?: string | undefined
  readonly [flag: string]: unknown
}

/** Of the gateway's settings, those that a command on its store uses. */
const STORE_KEYS = [
  'trustDomain',
  'identity.directory',
  'identity.passphraseFile',
  'identity.passphraseCommand',
  'ca.directory',
  'records.file',
  'enroll.leafLifetime',
]

/** The settings of a daemon, for a command beside it: all are taken, those that matter are shown. */
export function addStoreSettings<T>(yargs: Argv<T>, table: SettingsTable) {
  return addSettings(yargs, table, STORE_KEYS)
}

/** Adds one flag per row of a table, and --config. `shown`: in the help; default all. */
export function addSettings<T>(
  yargs: Argv<T>,
  table: SettingsTable,
  shown?: readonly string[],
): Argv<T & { config: string | undefined }> {
  // The command's own options come before those that it shares with others.
  yargs.group(['help', 'version'], 'Options:')
  for (const [key, setting] of Object.entries(table)) {
    const fallback = setting.defaultText === '' ? '' : ` [default: ${setting.defaultText}]`
    const describe = `${setting.describe} (${setting.kind}; ${variableName(key)})${fallback}`
    const hidden = shown !== undefined && !shown.includes(key)
    const option = { type: 'string', describe, hidden, requiresArg: true } as const
    yargs.option(flagName(key), { ...option, group: 'Settings:' })
  }
  return yargs.option('config', {
    type: 'string',
    describe:
      'YAML file with settings; flags and POSTERN_* variables go before it. (POSTERN_CONFIG)',
    group: 'Settings:',
    requiresArg: true,
  })
}

/** Reads the settings of a command; `isPart`: the file may hold others. @throws CONFIG_INVALID, CONFIG_UNREADABLE */
export function settingsOf<T extends SettingsTable>(
  table: T,
  args: SettingsArguments,
  environment: Readonly<Record<string, string | undefined>>,
  isPart = false,
): Loaded<T> {
  const flags: Record<string, string | undefined> = {}
  for (const key of Object.keys(table)) {
    const value = args[flagName(key)]
    if (typeof value === 'string') flags[key] = value
  }
  return loadSettings(table, {
    flags,
    environment,
    file: args.config ?? environment.POSTERN_CONFIG,
    isPart,
  })
}
