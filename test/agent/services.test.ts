import { expect } from 'chai'
import { Services } from '../../src/agent/services/services.ts'
import { AgentGuard } from '../../src/agent/guard/guard.ts'
import type { AgentSettings } from '../../src/config/agent-settings.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { agentSettings } from '../support/agent-settings.ts'
import { codeOf } from '../support/code-of.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const NOWHERE = { certificateFile: 'a', keyFile: 'b', bundleFile: 'c' }
const ROW = {
  name: 'orders-db',
  dataType: 'service-traffic',
  protocol: 'tcp',
  target: { host: '127.0.0.1', port: 1 },
} as const

describe("the agent's services", () => {
  function setUp(services: readonly object[] = []) {
    const ambient = {
      clock: new FakeClock(),
      random: new SeededRandom(1),
      logger: new LogRecorder(),
    }
    const settings = agentSettings(NOWHERE, {}, { services } as unknown as Partial<AgentSettings>)
    const room = new Services(
      settings,
      ambient,
      processParts(settings, ambient),
      new AgentGuard(settings, ambient).guard,
    )
    return { room, settings }
  }
  const named = (room: Services): string[] => room.report().services.map(({ name }) => name)

  it('are offered as the settings say, and taken back when they say so no more', () => {
    const { room, settings } = setUp([ROW])
    expect(named(room)).to.deep.equal(['orders-db'])
    expect(room.report().services[0]).to.deep.include({ target: 'tcp://127.0.0.1:1' })
    const offered = (): boolean => room.server.offers.some(({ name }) => name === 'orders-db')
    expect(offered()).to.equal(true)
    const before = room.version
    room.apply({ ...settings, services: [] })
    expect([offered(), named(room).length, room.version > before]).to.deep.equal([false, 0, true])
  })

  it('stay as they are where a reload changes something else', () => {
    const { room, settings } = setUp([ROW])
    const before = room.version
    room.apply({ ...settings, 'log.level': 'debug', 'drain.grace': 1 })
    expect(room.version).to.equal(before)
  })

  it('stay as they are where the new ones are not in order', () => {
    const { room, settings } = setUp([ROW])
    const twice = [ROW, ROW] as unknown as AgentSettings['services']
    codeOf(() => {
      room.apply({ ...settings, services: twice })
    }, 'CONFIG_INVALID')
    expect(named(room)).to.deep.equal(['orders-db'])
  })
})
