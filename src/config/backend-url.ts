import { isLoopback, mayBePlain } from './plaintext.ts'
import { textField, type Row } from './row-fields.ts'

/**
 * Reads the address of something behind the agent: https, or http where it does not leave the machine or the row says `plaintext:
 * allowed`. Throws a plain Error that says what is allowed.
 */
export function backendUrl(row: Row, name = 'url'): URL {
  const text = textField(row, name)
  const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined
  const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (url === undefined || !isWeb) throw new Error(`${name} must be https://host[:port][/path]`)
  if (url.username !== '' || url.password !== '')
    throw new Error(`${name} must hold no password: it belongs into a file`)
  if (url.search !== '' || url.hash !== '') throw new Error(`${name} must end with its path`)
  const isAllowed = mayBePlain(row)
  if (url.protocol === 'http:' && !isAllowed && !isLoopback(url.hostname))
    throw new Error(
      `${name} is plain http and leaves this machine: it must be https, or the row must say plaintext: allowed`,
    )
  return url
}
