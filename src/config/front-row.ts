import { parseAddress, type Address } from '../base/address.ts'
import { pathField, textField, type Row } from './row-fields.ts'
import { rowFields } from './setting.ts'

const PORT = 443

/** One row of the setting `agents.fronts`: a host name at Cloudflare behind which an agent is. */
export interface FrontRow {
  readonly address: Address
  readonly serviceTokenFile: string | undefined
  readonly caFile: string | undefined
}

/** Reads one row of `agents.fronts`. Throws a plain Error for the loader to place. */
export function readFront(row: Row): FrontRow {
  rowFields(row, ['address', 'serviceTokenFile', 'caFile'])
  const text = textField(row, 'address')
  if (text === undefined) throw new Error('address is missing')
  const address = parseAddress(/:\d+$/.test(text) ? text : `${text}:${String(PORT)}`)
  return {
    address,
    serviceTokenFile: pathField(row, 'serviceTokenFile'),
    caFile: pathField(row, 'caFile'),
  }
}
