import type { Ambient } from '../../tunnel/process-parts.ts'
import type { SettingsOf, SettingsTable } from '../../config/setting.ts'
import type { Output } from './output.ts'
import { table as textTable } from './output.ts'
import type { Surroundings } from './ambient.ts'
import { command, type CommandGroup, group, JSON_OPTION } from './command.ts'
import { settingsOf } from './settings-options.ts'

/**
 * `config check` and `config print`, for a program with this table. `judge` judges all that a run would: files,
 * rows, and how they fit together. It returns what it could not judge, if anything.
 */
export function configCommand<T extends SettingsTable>(
  table: T,
  judge: (
    values: SettingsOf<T>,
    ambient: Ambient,
    environment: Surroundings['environment'],
  ) => string | undefined,
): CommandGroup {
  const check = command({
    path: 'check',
    describe:
      'Read all settings, and the files they name, and say whether they are in order. Runs no program.',
    settings: { table },
    options: {},
    run: (args, surroundings) => {
      const { environment, output } = surroundings
      const { values } = settingsOf(table, args, environment)
      const unjudged = judge(values, surroundings.ambient('error', 'config'), environment)
      output.result('the settings are in order')
      if (unjudged !== undefined) output.note(unjudged)
      return 0
    },
  })
  const print = command({
    path: 'print',
    describe: 'Print every setting with its value and where it came from.',
    settings: { table },
    options: JSON_OPTION,
    run: (args, { environment, output }) => {
      printSettings(table, settingsOf(table, args, environment), args.json, output)
      return 0
    },
  })
  return group({
    path: 'config',
    describe: 'Check or print the settings.',
    commands: [check, print],
  })
}

interface PrintedSettings<T extends SettingsTable> {
  readonly values: SettingsOf<T>
  readonly origins: Readonly<Record<string, string>>
}

function settingRows<T extends SettingsTable>(
  settings: T,
  { values, origins }: PrintedSettings<T>,
): { key: string; value: string; origin: string }[] {
  return Object.entries(settings).map(([key, setting]) => {
    const value: unknown = values[key]
    const text = value === undefined ? '' : setting.format(value)
    return { key, value: text, origin: origins[key] ?? '' }
  })
}

/** Every setting with where it came from. */
export function settingsJson<T extends SettingsTable>(
  settings: T,
  loaded: PrintedSettings<T>,
): string {
  const rows = settingRows(settings, loaded)
  const entries = rows.map(({ key, value, origin }) => [key, { value, origin }] as const)
  return JSON.stringify(Object.fromEntries(entries), null, 2)
}

/** Secrets are given by path alone, so that no value printed here is one. */
function printSettings<T extends SettingsTable>(
  settings: T,
  loaded: PrintedSettings<T>,
  asJson: boolean,
  output: Output,
): void {
  const rows = settingRows(settings, loaded)
  if (asJson) output.result(settingsJson(settings, loaded))
  else {
    output.result(
      textTable(
        ['SETTING', 'VALUE', 'FROM'],
        rows.map(({ key, value, origin }) => [key, value, origin]),
      ),
    )
  }
}
