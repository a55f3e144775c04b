import { flagName, loadSettings, type Loaded } from '../../config/load.ts'
import type { SettingsTable } from '../../config/setting.ts'

/** The arguments of a command line, by option. */
export interface SettingsArguments {
  readonly config?: string | undefined
  readonly [flag: string]: unknown
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
