import { hasNextKey, makeNextKey } from '../../audit/key-change.ts'
import { publicKeyPath } from '../../audit/audit-key.ts'
import { pause } from '../../base/pause.ts'
import { command, JSON_OPTION } from '../program/program.ts'
import { placeOf, RECORD_OPTIONS } from './place.ts'

const LOOKS = 50
const LOOK_MS = 100

/** `agent audit rotate-key`: another key signs the record from now on. */
export const auditRotateKey = command({
  path: 'rotate-key',
  describe:
    'Make another audit key, which signs the record from now on. The daemon takes it over within seconds, or at its next start: a line that the key before has signed says so, and verifiers who know that one follow. The public half of each key stays beside the record; hand out the new one.',
  options: { ...RECORD_OPTIONS, ...JSON_OPTION },
  run: async (args, surroundings) => {
    const { directory } = placeOf(args, surroundings)
    const { output } = surroundings
    const { clock } = surroundings.ambient('error', 'audit')
    const key = makeNextKey(directory)
    for (let look = 0; look < LOOKS && hasNextKey(directory); look++) await pause(clock, LOOK_MS)
    const isTaken = !hasNextKey(directory)
    const publicKey = publicKeyPath(directory)
    if (args.json) output.result(JSON.stringify({ key, inForce: isTaken, publicKey }, null, 2))
    else {
      output.result(`audit key    ${key}`)
      output.result(
        isTaken
          ? `in force     yes: ${publicKey}`
          : 'in force     not yet: no daemon writes this record, the next one takes it over',
      )
    }
    return 0
  },
})
