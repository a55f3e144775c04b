import { rpcErrorOfCode } from '../rpc/status.ts'
import type { RpcError } from '../rpc/status.ts'

const KEY_BYTES_MAX = 1024
/** Encoded slashes, dots, backslashes, percent signs and NUL: some server or proxy on the way may decode them. */
const ENCODED = /%(?:2f|2e|5c|25|00)/i
/** Controls, marks of format and direction, line ends, halves of pairs, what shows as nothing. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u

/**
 * Judges the key of an object: it must lie under one of the prefixes, and be of a form that no store, proxy or person reads in two
 * ways. The key itself is not told to anybody. @throws RpcError OBJECT_KEY_REFUSED
 */
export function judgeKey(key: string, prefixes: readonly string[]): void {
  const fault = faultOf(key)
  if (fault !== undefined) throw refused(fault)
  const prefix = prefixes.find((one) => key.startsWith(one))
  if (prefix === undefined) throw refused('lies under no prefix of the store for that type')
  if (key.endsWith('/')) throw refused('ends with a slash, and is that of no object')
}

/** What is wrong with the form of a key or a prefix; undefined: nothing. */
export function faultOf(key: string): string | undefined {
  if (key === '') return 'is empty'
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) return `has over ${String(KEY_BYTES_MAX)} bytes`
  if (UNSEEN.test(key)) return 'has characters that are not seen'
  if (key !== key.normalize('NFC')) return 'is not in normal form C of Unicode'
  // Letters that look like, or are folded to, a slash, a dot or a backslash.
  return pathFault(key) ?? pathFault(key.normalize('NFKC').replace(/[⁄∕⧸╱]/gu, '/'))
}

function pathFault(key: string): string | undefined {
  if (ENCODED.test(key)) return 'has an encoded slash, dot, backslash or percent sign'
  if (key.includes('\\')) return 'has a backslash'
  const segments = key.split('/')
  // A slash at the end is that of a prefix.
  if (segments.slice(0, -1).includes('')) return 'has an empty segment'
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return 'has a segment . or ..'
  return undefined
}

function refused(why: string): RpcError {
  return rpcErrorOfCode('OBJECT_KEY_REFUSED', `the key ${why}`)
}
