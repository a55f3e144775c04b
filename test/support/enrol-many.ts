/** Enrols many agents from this process, as a child of a test: GATEWAY PIN DOMAIN FOLDER COUNT, the token in the environment. */
import { join } from 'node:path'
import { enroll } from '../../src/agent/enrolment/enroll.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { Generations } from '../../src/identity/generations.ts'

const AT_ONCE = 16
/** Refused for now, an agent comes again, as `agent run` does. */
const AGAIN_MS = 500
const TRIES_MAX = 100

const [gateway = '', pin = '', domain = '', folder = '', count = '0'] = process.argv.slice(2)
const token = process.env.JOIN_TOKEN ?? ''
let next = 0
let tries = 0

async function one(index: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    tries++
    try {
      await enroll(
        {
          gateway: new URL(gateway),
          token,
          pins: [pin],
          bundlePem: undefined,
          trustDomain: domain,
          keyKind: 'p256',
          onStep: () => undefined,
        },
        new Generations(join(folder, String(index))),
        () => systemClock.wallMs(),
      )
      return
    } catch (error) {
      if (attempt >= TRIES_MAX) throw error
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  }
}

const beganAtMs = Date.now()
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < Number(count)) await one(next++)
  }),
)
process.stdout.write(JSON.stringify({ tries, ms: Date.now() - beganAtMs }))
