import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { readProbe } from '../../src/config/probe-row.ts'
import type { ProbeRow } from '../../src/dataplane/probe-row.ts'
import { Probes, type ServiceHealth } from '../../src/dataplane/probes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const ROW = { service: 'db', type: 'tcp', interval: '10s', timeout: '3s', jitterPercent: 0 }

describe('the probes of services', () => {
  let clock: FakeClock
  let probes: Probes
  let changes: ServiceHealth[]
  beforeEach(() => {
    clock = new FakeClock()
    changes = []
  })
  afterEach(() => {
    probes.stop()
  })

  function start(
    check: (row: ProbeRow, signal: AbortSignal) => Promise<void>,
    ...rows: readonly object[]
  ): void {
    const read = rows.map((row) => readProbe({ ...ROW, ...row }))
    const onChange = (health: ServiceHealth): void => {
      changes.push(health)
    }
    probes = new Probes(read, { clock, random: new SeededRandom(1), check, onChange })
    probes.start()
  }

  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(Math.min(500, left))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  const refused = () => Promise.reject(new PosternError('TARGET_UNREACHABLE', 'refused'))

  it('take the first result at once, and a change after enough in a row', async () => {
    let isBad = false
    start(() => (isBad ? refused() : Promise.resolve()), { rise: 2, fall: 3 })
    await pass(500)
    expect(probes.healths[0]).to.include({ name: 'db', isDown: false, reason: '' })
    isBad = true
    await pass(20_000)
    expect(probes.healths[0]?.isDown).to.equal(false)
    await pass(10_500)
    expect(probes.healths[0]).to.include({ isDown: true, reason: 'tcp probe: refused' })
    isBad = false
    await pass(10_000)
    expect(probes.healths[0]?.isDown).to.equal(true)
    await pass(10_500)
    expect(probes.healths[0]?.isDown).to.equal(false)
    expect(changes.map(({ isDown }) => isDown)).to.deep.equal([true, false])
  })

  it('are not impressed by single failures', async () => {
    let count = 0
    start(() => (++count % 3 === 0 ? Promise.resolve() : refused()), { rise: 1, fall: 3 })
    await pass(500)
    expect(changes.map(({ isDown }) => isDown)).to.deep.equal([true])
    await pass(200_000)
    expect(changes.map(({ isDown }) => isDown)).to.deep.equal([true, false])
  })

  it('never pile up on a slow target, and say that it is slow', async () => {
    let [running, most] = [0, 0]
    const slow = async (_row: ProbeRow, signal: AbortSignal): Promise<void> => {
      most = Math.max(most, ++running)
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(new Error('aborted'))
        })
      }).finally(() => running--)
    }
    start(slow, { interval: '1s', timeout: '5s', fall: 1 })
    await pass(60_000)
    expect(most).to.equal(1)
    expect(probes.healths[0]?.reason).to.equal('tcp probe: no answer within 5 s')
  })

  it('of one service say together whether it is up', async () => {
    let isBad = true
    const check = ({ type }: ProbeRow) => (type === 'http' && isBad ? refused() : Promise.resolve())
    start(check, { fall: 1, rise: 1 }, { type: 'http', fall: 1, rise: 1 })
    await pass(1000)
    expect(probes.healths).to.have.length(1)
    expect(probes.healths[0]).to.include({ isDown: true, reason: 'http probe: refused' })
    isBad = false
    await pass(11_000)
    expect(probes.healths[0]?.isDown).to.equal(false)
  })

  it('are spread out by jitter', async () => {
    const at: number[] = []
    const check = (): Promise<void> => {
      at.push(clock.nowMs())
      return Promise.resolve()
    }
    start(check, { jitterPercent: 50 })
    await pass(100_000)
    const gaps = at.slice(1).map((time, index) => time - (at[index] ?? 0))
    expect(Math.min(...gaps)).to.be.at.least(10_000)
    expect(Math.max(...gaps)).to.be.within(10_500, 15_600)
    expect(new Set(gaps).size).to.be.greaterThan(3)
  })

  it('stop, the one that runs included', async () => {
    let isAborted = false
    const check = (_row: ProbeRow, signal: AbortSignal): Promise<void> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          isAborted = true
          reject(new Error('aborted'))
        })
      })
    start(check, {})
    await pass(500)
    probes.stop()
    await pass(60_000)
    expect([isAborted, probes.healths.length]).to.deep.equal([true, 0])
  })
})

describe('a row of probes', () => {
  it('has the defaults that docs/SETTINGS.md names', () => {
    expect(readProbe({ service: 'db', type: 'http' })).to.deep.include({
      path: '/',
      statusMin: 200,
      statusMax: 399,
      intervalMs: 10_000,
      timeoutMs: 3000,
      rise: 2,
      fall: 3,
      jitterPercent: 20,
    })
  })

  for (const [row, text] of [
    [{ type: 'tcp' }, 'service is missing'],
    [{ service: 'db', type: 'icmp' }, 'type must be one of tcp, http, https, grpc, exec'],
    [{ service: 'db', type: 'tcp', url: 'x' }, 'unknown key "url"'],
    [{ service: 'db', type: 'tcp', interval: '10ms' }, 'interval must be a time from 1000ms to 1h'],
    [{ service: 'db', type: 'tcp', timeout: 5 }, 'timeout must be a time from 10ms to 1h'],
    [{ service: 'db', type: 'tcp', fall: 0 }, 'fall must be a whole number from 1 to 100'],
    [{ service: 'db', type: 'http', path: 'x' }, 'path must begin with /'],
    [{ service: 'db', type: 'http', status: 'ok' }, 'status must be a number or a range'],
    [{ service: 'db', type: 'http', body: '(' }, 'body must be a regular expression'],
    [{ service: 'db', type: 'exec' }, 'exec needs one'],
    [{ service: 'db', type: 'tcp', command: ['x'] }, 'command belongs to type exec'],
    [{ service: 'db', type: 'exec', command: 'x y' }, 'command must be a list of texts'],
    [{ service: 'db', type: 'tcp', target: 'x' }, 'not of the form host:port'],
  ] as const)
    it(`is refused: ${text}`, () => {
      expect(() => readProbe(row)).to.throw(text)
    })
})
