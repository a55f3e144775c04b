import { lookup, type LookupAddress } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { PosternError } from '../base/errors.ts'
import { forbiddenReason } from './target-rules.ts'

/** The chance and the listener that a rotated lookup of a name is given. */
export interface RotatedLookup {
  /** Uniform in [0, 1): which of the addresses comes first. */
  readonly fraction: () => number
  /** How many addresses of one family there are, at most. */
  readonly onResolved?: (records: number) => void
  /** Default: the resolver of the system. */
  readonly resolve?: typeof lookup
}

/**
 * Every address of a name, those of IPv6 and IPv4 in turn (RFC 8305 section 4), beginning anywhere: so a
 * fleet spreads over the records of a name, and one that is dead is not always tried first. Those that no target may
 * have are left out: whoever controls a name leads nobody to a metadata service. An error of TARGET_FORBIDDEN: no
 * other is left.
 */
export function rotatedLookup({
  fraction,
  onResolved,
  resolve = lookup,
}: RotatedLookup): LookupFunction {
  return (host, options, done) => {
    resolve(host, { ...options, all: true }, (error, all) => {
      if (error !== null) {
        done(error, [])
        return
      }
      const found = all.filter(({ address }) => forbiddenReason(address) === undefined)
      const reason = forbiddenReason(all[0]?.address ?? '::')
      if (found.length === 0 && all.length > 0 && reason !== undefined) {
        done(new PosternError('TARGET_FORBIDDEN', `${host}: ${reason}`), [])
        return
      }
      const v6 = rotate(
        found.filter(({ family }) => family === 6),
        fraction(),
      )
      const v4 = rotate(
        found.filter(({ family }) => family === 4),
        fraction(),
      )
      onResolved?.(Math.max(v6.length, v4.length))
      const turns = Array.from({ length: Math.max(v6.length, v4.length) }, (_, i) => [v6[i], v4[i]])
      const ordered = turns.flat().filter((one) => one !== undefined)
      const [first] = ordered
      if (options.all === true || first === undefined) done(null, ordered)
      else done(null, first.address, first.family)
    })
  }
}

function rotate(list: readonly LookupAddress[], fraction: number): LookupAddress[] {
  const at = Math.floor(list.length * fraction)
  return [...list.slice(at), ...list.slice(0, at)]
}
