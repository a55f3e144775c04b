import { userInfo } from 'node:os'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import {
  type Operator,
  type StoreTools,
  withStoreTools,
} from '../../gateway/operations/operations.ts'
import { type Surroundings, settingsOf, type SettingsArguments } from '../program/program.ts'
import { withPassphrase } from '../daemon/daemon.ts'

/** The settings of the gateway, of which the help shows those that a command on its store uses. */
export const STORE_SETTINGS = {
  table: GATEWAY_SETTINGS,
  shown: [
    'trustDomain',
    'identity.directory',
    'identity.passphraseFile',
    'identity.passphraseCommand',
    'ca.directory',
    'records.file',
    'enroll.leafLifetime',
  ],
} as const

/** Opens the store of the settings, lets a command use it in the name of the local user, and closes it. */
export async function withStore(
  args: SettingsArguments,
  surroundings: Surroundings,
  act: (tools: StoreTools, operator: Operator) => Promise<number>,
): Promise<number> {
  const { environment } = surroundings
  const { values } = settingsOf(GATEWAY_SETTINGS, args, environment)
  const { clock, random } = surroundings.ambient('error', 'gateway')
  const operator = { actor: `user ${userInfo().username}`, nowMs: clock.wallMs() }
  const settings = withPassphrase(values, environment)
  return await withStoreTools(settings, { clock, random }, (tools) => act(tools, operator))
}
