import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { readBundleText } from '../../identity/certificate-files.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import { Records } from '../../store/records.ts'
import { Denials } from '../access/access.ts'
import { Authorities, gatewayFiles } from '../ca/ca.ts'

/** Who wants an operation, when, and why: it goes into the record with what is done. */
export interface Operator {
  /** As the record names it, such as "user root". */
  readonly actor: string
  /** In wall-clock ms. */
  readonly nowMs: number
}

/** What operations work with, beside a gateway that may be running: it sees what they change within a second. */
export interface StoreTools {
  readonly settings: GatewaySettings
  readonly records: Records
  readonly denials: Denials
  readonly clock: Clock
  readonly random: Random
  /** The CAs; asked for by operations that need them. @throws CONFIG_INVALID, and what reading them throws */
  authorities(): Promise<Authorities>
}

/** Opens the store of the settings, lets `act` use it, and closes it. @throws CONFIG_INVALID, RECORDS_UNUSABLE, and what `act` throws */
export async function withStoreTools<T>(
  settings: GatewaySettings,
  { clock, random }: Pick<StoreTools, 'clock' | 'random'>,
  act: (tools: StoreTools) => Promise<T>,
): Promise<T> {
  const file = settings['records.file']
  if (file === undefined) {
    const text = 'records.file is missing: this gateway keeps no records'
    throw new PosternError('CONFIG_INVALID', text)
  }
  const records = await Records.open(file)
  try {
    const denials = new Denials(records)
    await denials.refresh()
    const authorities = (): Promise<Authorities> => openAuthorities(settings, records)
    return await act({ settings, records, denials, clock, random, authorities })
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
    protection: protectionOf(settings),
    trustDomain: settings.trustDomain,
    initialBundlePem: readBundleText(gatewayFiles(settings).bundleFile),
  })
  await authorities.refresh()
  return authorities
}
