import { expect } from 'chai'
import { copyFileSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adminOffers } from '../../src/gateway/control/control.ts'
import { AMBIENT } from '../support/ambient.ts'
import { LocalServer } from '../../src/tunnel/local-rpc.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { CaSteps, isUp } from '../support/ca-steps.ts'
import { rejection } from '../support/code-of.ts'
import { runCli } from '../support/run-cli.ts'

describe('a gateway whose store is lost', function () {
  it('does not begin anew beside CAs of a later generation, and goes on from a backup', async () => {
    const steps = await CaSteps.start()
    const { plane } = steps
    const kept = mkdtempSync(join(tmpdir(), 'postern-backup-'))
    try {
      await plane.enroll('a-1')
      await steps.ca('prepare', '--root', steps.root)
      await steps.ca('activate', '--force')
      await steps.ca('retire', '--force')
      await steps.seen()
      await plane.enroll('a-2')
      const file = join(kept, 'records.db')
      const { status, stderr } = await plane.command('store', 'backup', file)
      expect([status, stderr]).to.deep.equal([0, ''])
      expect(statSync(file).mode & 0o777).to.equal(0o600)
      expect((await plane.command('store', 'backup', file)).stderr).to.include('[STATE_EXISTS]')
      plane.gateway.stop()
      await new Promise((resolve) => setTimeout(resolve, 300))
      const store = join(plane.folder, 'cp/records.db')
      for (const end of ['', '-wal', '-shm']) rmSync(`${store}${end}`, { force: true })
      const error = await rejection(plane.startGateway(plane.sameAddresses), 'RECORDS_UNUSABLE')
      expect(error.message).to.include('OPERATIONS.md')
      await new Promise((resolve) => setTimeout(resolve, 300))
      for (const end of ['', '-wal', '-shm']) rmSync(`${store}${end}`, { force: true })
      copyFileSync(file, store)
      await plane.startGateway(plane.sameAddresses)
      await isUp(plane.startAgent('a-2'))
      await plane.enroll('a-3')
    } finally {
      plane.stop()
      rmSync(kept, { recursive: true })
    }
  })
})

describe('the retirement of a CA', function () {
  it('is refused while a caller is connected by a certificate of it, who is named, whatever else it holds', async () => {
    const steps = await CaSteps.start()
    const { plane } = steps
    const socket = join(plane.folder, 'gateway.sock')
    const listener = new LocalServer(socket, AMBIENT)
    const ports = { gateway: plane.gateway, drain: () => undefined, clock: systemClock }
    for (const offer of adminOffers(ports)) listener.server.offer(offer)
    try {
      await listener.listen()
      const client = await plane.connect('billing')
      await steps.ca('prepare', '--root', steps.root)
      await steps.ca('activate')
      // It has the next one, and has not taken it up.
      const dir = join(plane.folder, 'callers')
      const { status } = await plane.command('certs', 'issue', '--caller', 'billing', '--dir', dir)
      expect(status).to.equal(0)
      const retire = ['ca', 'retire', '--config', plane.configFile]
      const named = await runCli('gateway', [...retire, '--status-socket', socket])
      expect(named.stderr).to.match(/caller\/billing .*is connected/)
      client.close()
      const gone = await runCli('gateway', [...retire, '--status-socket', socket])
      expect([gone.status, gone.stderr]).to.deep.equal([0, ''])
    } finally {
      listener.close()
      plane.stop()
    }
  })
})
