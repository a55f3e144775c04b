import { choiceField, type Row } from './row-fields.ts'

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/

/** Whether a host is this machine, so that what is said to it in plain text does not leave it. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

/** Whether a row says `plaintext: allowed`: what it names is reached without TLS although it lies elsewhere. Throws a plain Error. */
export function mayBePlain(row: Row): boolean {
  return choiceField(row, 'plaintext', ['refused', 'allowed'], 'refused') === 'allowed'
}
