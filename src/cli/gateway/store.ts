import { userInfo } from 'node:os'
import { PosternError } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { GATEWAY_SETTINGS, type GatewaySettings } from '../../config/gateway-settings.ts'
import { Authorities, gatewayFiles } from '../../gateway/ca/ca.ts'
import { Denials } from '../../gateway/access/access.ts'
import { Records } from '../../store/records.ts'
import { readBundleText } from '../../identity/certificate-files.ts'
import { readProtection } from '../../identity/passphrase.ts'
import { type Surroundings, settingsOf, type SettingsArguments } from '../program/program.ts'
import { withPassphrase } from '../daemon/daemon.ts'

/** Who gave a command, for the records. */
export function localActor(): string {
  return `user ${userInfo().username}`
}

/** @throws CONFIG_INVALID, RECORDS_UNUSABLE */
export async function openRecords(settings: GatewaySettings): Promise<Records> {
  const file = settings['records.file']
  if (file !== undefined) return await Records.open(file)
  const text = 'records.file is missing: this gateway keeps no records'
  throw new PosternError('CONFIG_INVALID', text)
}

/** What commands work with, beside a gateway that may be running: it sees what they change. */
export interface StoreTools {
  readonly settings: GatewaySettings
  readonly records: Records
  readonly denials: Denials
  readonly clock: Clock
  readonly random: Random
  readonly nowMs: number
  readonly actor: string
  /** The CAs; asked for by commands that need them. @throws CONFIG_INVALID, and what reading them throws */
  authorities(): Promise<Authorities>
}

/** Opens the store of the settings, uses it, and closes it. */
export async function withStore(
  args: SettingsArguments,
  surroundings: Surroundings,
  act: (tools: StoreTools) => Promise<number>,
): Promise<number> {
  const { environment } = surroundings
  const { values } = settingsOf(GATEWAY_SETTINGS, args, environment)
  const settings = withPassphrase(values, environment)
  const { clock, random } = surroundings.ambient('error', 'gateway')
  const records = await openRecords(settings)
  try {
    const denials = new Denials(records)
    await denials.refresh()
    return await act({
      settings,
      records,
      denials,
      clock,
      random,
      nowMs: clock.wallMs(),
      actor: localActor(),
      authorities: () => openAuthorities(settings, records),
    })
  } finally {
    await records.close()
  }
}

async function openAuthorities(settings: GatewaySettings, records: Records): Promise<Authorities> {
  const directory = settings['ca.directory']
  if (directory === undefined)
    throw new PosternError('CONFIG_INVALID', 'ca.directory is missing: this gateway has no CA')
  const authorities = new Authorities({
    records,
    directory,
    protection: readProtection({
      file: settings['identity.passphraseFile'],
      command: settings['identity.passphraseCommand'],
    }),
    trustDomain: settings.trustDomain,
    initialBundlePem: readBundleText(gatewayFiles(settings).bundleFile),
  })
  await authorities.refresh()
  return authorities
}
