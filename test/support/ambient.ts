import { silentLogger } from '../../src/base/logger.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'

/** The real clock and chance, and no log. */
export const AMBIENT = { clock: systemClock, random: systemRandom, logger: silentLogger }
