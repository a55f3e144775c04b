import { expect } from 'chai'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Renewal, type RenewalPorts } from '../../src/agent/changes/renewal.ts'
import type { AgentCredential } from '../../src/agent/credential/credential.ts'
import { PosternError } from '../../src/base/errors.ts'
import { createPublicKey } from 'node:crypto'
import { readSigningRequest } from '../../src/identity/csr.ts'
import { rejection } from '../support/code-of.ts'
import { Generations } from '../../src/identity/generations.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { makeKey } from '../../src/identity/keys.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { AGENT, TestPki } from '../support/pki.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const START = Date.UTC(2026, 10, 23)

describe('the renewal of a certificate', () => {
  let folder: string
  let clock: FakeClock & { skewMs: number }
  let credential: AgentCredential
  let store: RenewalPorts['store']
  let renewal: Renewal
  const log = new LogRecorder()
  let asked: number[]
  let answer: (signingRequest: Buffer) => Promise<Buffer[]>
  let pki: TestPki
  let renewedCount: number

  /** A clock whose wall can be set, as people and NTP do. */
  class SteppedClock extends FakeClock {
    skewMs = 0
    override wallMs = (): number => START + this.nowMs() + this.skewMs
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-renewal-'))
    pki = await TestPki.create()
    renewedCount = 0
    const files = await pki.issue(AGENT, {
      notBefore: new Date(START - 5 * MINUTE_MS),
      notAfter: new Date(START + 24 * HOUR_MS),
    })
    credential = readCredential(files, 'agent', START) as AgentCredential
    clock = new SteppedClock()
    const generations = new Generations(folder)
    // A key that is there already, so that a try takes no time but ours.
    await generations.pendingKey(() => makeKey('p256'))
    asked = []
    answer = () => Promise.reject(new PosternError('CONNECTION_LOST', 'the tunnel is not up'))
    store = {
      generations,
      credential,
      trust: { version: 0, issuingKeys: [] },
      renewalError: undefined,
    }
    renewal = new Renewal({
      store,
      clock,
      random: new SeededRandom(3),
      logger: log,
      ask: (signingRequest) => {
        asked.push(clock.wallMs())
        return answer(signingRequest)
      },
      apartMs: 60_000,
      exclusively: (act) => act(),
      onRenewed: () => {
        renewedCount++
        const { certificateFile, keyFile, bundleFile } = generations.current ?? files
        const read = readCredential(
          { certificateFile, keyFile, bundleFile },
          'agent',
          clock.wallMs(),
        )
        store = Object.assign(store, { credential: read as AgentCredential })
        return Promise.resolve()
      },
    })
    renewal.start()
  })
  afterEach(() => {
    renewal.stop()
    rmSync(folder, { recursive: true })
  })

  /** Lets time pass in small steps, and each try come to its end. */
  async function pass(ms: number, stepMs = 15_000): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      clock.advance(Math.min(left, stepMs))
      await new Promise(setImmediate)
    }
  }

  it('waits until it is due, and not much longer', async () => {
    const { dueAtMs } = renewal
    expect(dueAtMs - START).to.be.within(12 * HOUR_MS, 16 * HOUR_MS)
    await pass(dueAtMs - START - MINUTE_MS, MINUTE_MS)
    expect(asked).to.deep.equal([])
    await pass(2 * MINUTE_MS)
    expect(asked.length).to.be.greaterThan(0)
    expect((asked[0] ?? 0) - dueAtMs).to.be.within(0, 15_000)
  })

  it('installs what it is answered, with another key, and is due again in the life of that', async () => {
    answer = async (signingRequest) => {
      const { publicKey } = readSigningRequest(signingRequest)
      const notBefore = new Date(clock.wallMs() - 5 * MINUTE_MS)
      const notAfter = new Date(clock.wallMs() + 24 * HOUR_MS)
      return await pki.certify(publicKey, AGENT, { notBefore, notAfter })
    }
    const before = { ...store.credential }
    const firstDueMs = renewal.dueAtMs
    await renewal.renewNow()
    expect([renewedCount, renewal.succeeded, renewal.failed]).to.deep.equal([1, 1, 0])
    expect(store.renewalError).to.equal(undefined)
    expect(store.credential.keyPem).not.to.equal(before.keyPem)
    expect(store.credential.identity).to.deep.equal(before.identity)
    clock.skewMs = firstDueMs - START
    await renewal.renewNow()
    expect(renewal.dueAtMs - clock.wallMs()).to.be.within(12 * HOUR_MS - MINUTE_MS, 16 * HOUR_MS)
    expect(asked.length).to.equal(2)
  })

  it('refuses an answer for somebody else, or for another key, and keeps what it has', async () => {
    const before = store.credential
    const life = { notBefore: new Date(START - MINUTE_MS), notAfter: new Date(START + HOUR_MS) }
    answer = async (signingRequest) => {
      const { publicKey } = readSigningRequest(signingRequest)
      return await pki.certify(publicKey, { ...AGENT, agent: 'a-2' }, life)
    }
    await rejection(renewal.renewNow(), 'ENROL_ANSWER_INVALID')
    const stranger = createPublicKey(await makeKey('p256'))
    answer = () => pki.certify(stranger, AGENT, life)
    await rejection(renewal.renewNow(), 'ENROL_ANSWER_INVALID')
    expect([store.credential, renewedCount, renewal.failed]).to.deep.equal([before, 0, 2])
  })

  it('retries when it fails, ever more slowly, and tells why', async () => {
    clock.skewMs = renewal.dueAtMs - START
    await pass(HOUR_MS)
    const gaps = asked.slice(1).map((at, i) => at - (asked[i] ?? 0))
    expect(asked.length).to.be.within(10, 60)
    expect(Math.min(...gaps)).to.be.at.least(5000)
    expect(Math.max(...gaps)).to.be.at.most(5 * MINUTE_MS + 15_000)
    expect(gaps.at(-1)).to.be.greaterThan(gaps[0] ?? 0)
    expect(store.renewalError?.code).to.equal('CONNECTION_LOST')
    expect(log.lines.at(-1)?.facts).to.include({ code: 'CONNECTION_LOST' })
  })

  it('sees a clock that was set forward, and a machine that slept', async () => {
    await pass(MINUTE_MS)
    expect(asked).to.deep.equal([])
    clock.skewMs = 20 * HOUR_MS
    await pass(MINUTE_MS)
    expect(asked.length).to.be.greaterThan(0)
  })

  it('is not hurried by a clock that was set back', async () => {
    clock.skewMs = -400 * 24 * HOUR_MS
    await pass(HOUR_MS, MINUTE_MS)
    expect(asked).to.deep.equal([])
  })

  it('is not hurried by orders without end, nor kept from it', async () => {
    answer = () => Promise.resolve([])
    for (let i = 0; i < 400; i++) {
      renewal.order(0)
      await pass(50, 50)
    }
    // One at once; it failed, as nothing was answered, and each retry waits its time.
    expect(asked.length).to.be.within(1, 6)
  })

  it('goes on after the certificate has expired', async () => {
    clock.skewMs = 30 * 24 * HOUR_MS
    await pass(30 * MINUTE_MS)
    expect(asked.length).to.be.greaterThan(3)
  })
})
