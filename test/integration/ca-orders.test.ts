import { expect } from 'chai'
import { join } from 'node:path'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { CaSteps, isUp } from '../support/ca-steps.ts'
import { runCli } from '../support/run-cli.ts'
import { writeFileSync } from 'node:fs'

/** `s`: another issuing CA under the same root. `n`: a new root. */
const ORDERS = ['sss', 'ssn', 'sns', 'snn', 'nss', 'nsn', 'nns', 'nnn']

describe('three changes of CA, one after another', function () {
  for (const order of ORDERS)
    it(`in the order ${order}: newcomers come in by the pin of the day, and those who were away come back`, async () => {
      const steps = await CaSteps.start()
      const { plane } = steps
      try {
        await plane.enroll('away')
        await plane.enroll('forced')
        let root = steps.root
        let { pin } = plane.init
        for (const [index, kind] of Array.from(order).entries()) {
          const next = kind === 'n' ? join(plane.folder, `root-${String(index)}`) : undefined
          const more = next === undefined ? [] : ['--new-root', next]
          await steps.ca('prepare', '--root', root, ...more)
          await steps.ca('activate', '--force')
          await steps.ca('retire', '--force')
          await plane.gateway.access?.refresh()
          if (next !== undefined) {
            root = next
            ;({ pin } = readAuthority(next, 'root'))
          }
          const newcomer = `new-${String(index)}`
          for (const name of [newcomer, 'forced']) {
            const { token } = await plane.token({ agent: name })
            const file = join(plane.folder, 'token')
            writeFileSync(file, token, { mode: 0o600 })
            const more = name === 'forced' ? ['--force'] : []
            const state = ['--state-directory', plane.stateOf(name)]
            const { status, stderr } = await runCli('agent', [
              ...['enroll', '--gateway', plane.enrollUrl, '--token-file', file, '--ca-pin', pin],
              ...['--trust-domain', 'cp.postern.test', ...state, ...more],
            ])
            expect([status, stderr], name).to.satisfy(([code]: [number]) => code === 0, stderr)
          }
          const agent = plane.startAgent(newcomer)
          await isUp(agent)
          agent.stop()
        }
        await isUp(plane.startAgent('forced'))
        await isUp(plane.startAgent('away'))
      } finally {
        plane.stop()
      }
    })
})
