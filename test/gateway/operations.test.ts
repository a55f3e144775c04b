import { expect } from 'chai'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import {
  certificateRecords,
  createToken,
  eventsAfter,
  lastEvents,
  listTokens,
  lockCluster,
  revoke,
  revokeToken,
  unlockCluster,
  withStoreTools,
  type StoreTools,
} from '../../src/gateway/operations/operations.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane } from '../support/control-plane.ts'

const OPERATOR = { actor: 'user test', nowMs: Date.now() }
const AMBIENT = { clock: systemClock, random: systemRandom }

describe('operations on the store, as a console or a fleet would call them', () => {
  let plane: ControlPlane

  beforeEach(async () => {
    plane = await ControlPlane.start()
  })
  afterEach(() => {
    plane.stop()
  })

  async function within<T>(act: (tools: StoreTools) => Promise<T>): Promise<T> {
    return await withStoreTools(plane.gateway.settings, AMBIENT, act)
  }

  it('make, list and revoke tokens, and each is in the record with who did it', async () => {
    await within(async (tools) => {
      const request = { cluster: 'c-1', agent: undefined, uses: 2, ttlMs: 60_000 }
      const { id, token, pins } = await createToken(tools, request, OPERATOR)
      expect(token).to.match(/^postern_/)
      expect(pins).to.have.length(1)
      expect((await listTokens(tools, OPERATOR.nowMs))[0]).to.include({ id, state: 'good' })
      await revokeToken(tools, id, OPERATOR)
      expect((await listTokens(tools, OPERATOR.nowMs))[0]).to.include({ state: 'revoked' })
      const { rows, newestId } = await lastEvents(tools, { kinds: ['token.*'] }, 10)
      expect(rows.map(({ actor }) => actor)).to.deep.equal(['user test', 'user test'])
      expect(await eventsAfter(tools, {}, newestId)).to.deep.equal([])
    })
  })

  it('refuse what cannot be, and leave nothing behind', async () => {
    await within(async (tools) => {
      const bad = { cluster: 'c-1', agent: 'a-1', uses: 2, ttlMs: 60_000 }
      for (const request of [bad, { ...bad, uses: Number.NaN }, { ...bad, cluster: 'C 1' }])
        await rejection(createToken(tools, request, OPERATOR), 'USAGE')
      await rejection(revoke(tools, { reason: 'none named' }, OPERATOR), 'USAGE')
      await rejection(revoke(tools, { key: 'sha256:0', reason: '' }, OPERATOR), 'USAGE')
      await rejection(revoke(tools, { cluster: 'never', reason: '' }, OPERATOR), 'NOT_KNOWN')
      await rejection(lastEvents(tools, { kinds: ['%'] }, 1), 'USAGE')
      await rejection(lastEvents(tools, {}, 0), 'USAGE')
      expect(await listTokens(tools, OPERATOR.nowMs)).to.deep.equal([])
    })
  })

  it('lock and revoke, and say what they found', async () => {
    await plane.enroll('a-1')
    await within(async (tools) => {
      const order = { ...OPERATOR, reason: 'why' }
      const first = await lockCluster(tools, 'c-1', order)
      expect(first).to.deep.equal({ isKnown: true, wasLocked: false })
      expect((await lockCluster(tools, 'c-1', order)).wasLocked).to.equal(true)
      const [record] = await certificateRecords(tools, { cluster: 'c-1' }, false, Date.now())
      expect(record?.state).to.equal('locked')
      await unlockCluster(tools, 'c-1', OPERATOR)
      const revoked = await revoke(tools, { serial: record?.serial, reason: 'lost' }, OPERATOR)
      expect(revoked).to.include({ what: 'certificate', holder: 'c-1/a-1', renewed: 0 })
      const [after] = await certificateRecords(tools, { cluster: 'c-1' }, false, Date.now())
      expect(after?.state).to.equal('revoked')
    })
  })
})
