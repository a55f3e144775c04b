import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'

const CHILD = fileURLToPath(new URL('../support/enrol-many.ts', import.meta.url))
const COUNT = 1000

describe('a thousand agents behind one address', () => {
  let plane: ControlPlane
  before(async () => {
    plane = await ControlPlane.start()
  })
  after(() => {
    plane.stop()
  })

  it('enroll with a token of theirs, and are held up by no rate', async () => {
    const { token } = await plane.token({ uses: COUNT })
    const folder = join(plane.folder, 'many')
    const args = [CHILD, plane.enrollUrl, plane.init.pin, DOMAIN, folder, String(COUNT)]
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      env: { ...process.env, JOIN_TOKEN: token },
    })
    const { tries } = JSON.parse(stdout) as { tries: number }
    // Work is counted, not time: hardly any comes a second time.
    expect(tries).to.be.within(COUNT, COUNT * 1.2)
  })
})
