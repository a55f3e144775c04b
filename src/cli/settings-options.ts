import type { Argv } from 'yargs'
import { flagName, loadSettings, variableName, type Loaded } from '../config/load.ts'
import type { SettingsTable } from '../config/setting.ts'

export interface SettingsArguments {
  readonly config?: string | undefined
  readonly [flag: string]: unknown
}

/** Adds one flag per row of a table, and --config. */
export function addSettings<T>(
  yargs: Argv<T>,
  table: SettingsTable,
): Argv<T & { config: string | undefined }> {
  for (const [key, setting] of Object.entries(table)) {
    const fallback = setting.defaultText === '' ? '' : ` [default: ${setting.defaultText}]`
    const describe = `${setting.describe} (${setting.kind}; ${variableName(key)})${fallback}`
    yargs.option(flagName(key), { type: 'string', describe, group: 'Settings:', requiresArg: true })
  }
  return yargs.option('config', {
    type: 'string',
    describe:
      'YAML file with settings; flags and POSTERN_* variables go before it. (POSTERN_CONFIG)',
    group: 'Settings:',
    requiresArg: true,
  })
}

/** Reads the settings of a command. @throws CONFIG_INVALID, CONFIG_UNREADABLE */
export function settingsOf<T extends SettingsTable>(
  table: T,
  args: SettingsArguments,
  environment: Readonly<Record<string, string | undefined>>,
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
  })
}
