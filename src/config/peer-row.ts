import { parseAddress, type Address } from '../base/address.ts'
import { rowFields } from './setting.ts'

/** One row of the setting `peers`: another gateway of the same control plane. */
export interface PeerRow {
  /** As in its certificate. */
  readonly gateway: string
  readonly address: Address
  /** Empty: it has none. */
  readonly zone: string
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Reads one row of `peers`. Throws a plain Error for the loader to place. */
export function readPeer(row: Readonly<Record<string, unknown>>): PeerRow {
  rowFields(row, ['gateway', 'address', 'zone'])
  const { gateway, address, zone = '' } = row
  if (typeof gateway !== 'string' || !NAME.test(gateway))
    throw new Error('gateway must be 1 to 63 of a-z, 0-9 and hyphens')
  if (typeof zone !== 'string' || !(zone === '' || NAME.test(zone)))
    throw new Error(`gateway ${gateway}: zone must be 1 to 63 of a-z, 0-9 and hyphens`)
  if (typeof address !== 'string') throw new Error(`gateway ${gateway}: address is missing`)
  return { gateway, address: parseAddress(address), zone }
}
