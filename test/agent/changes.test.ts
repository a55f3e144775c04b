import { AgentGuard } from '../../src/agent/guard/guard.ts'
import { expect } from 'chai'
import { rmSync } from 'node:fs'
import { copyFileSync } from 'node:fs'
import { CredentialChanges, type Prover } from '../../src/agent/changes/changes.ts'
import { CredentialStore } from '../../src/agent/credential/credential.ts'
import { PosternError } from '../../src/base/errors.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { DIRECT } from '../../src/transport/egress.ts'
import { rejection } from '../support/code-of.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { AGENT, TestPki, TRUST_DOMAIN } from '../support/pki.ts'
import { SeededRandom } from '../support/seeded-random.ts'

describe('changing the identity of an agent', () => {
  let pki: TestPki
  let files: KeyFilePaths
  let store: CredentialStore
  let changes: CredentialChanges
  let prover: Prover & { tries: number; outcome: () => Promise<boolean> }

  beforeEach(async () => {
    pki = await TestPki.create()
    files = await pki.issue(AGENT)
    const { values: settings } = loadSettings(AGENT_SETTINGS, {
      flags: {
        trustDomain: TRUST_DOMAIN,
        'gateway.address': 'localhost:1',
        'identity.certificateFile': files.certificateFile,
        'identity.keyFile': files.keyFile,
        'identity.bundleFile': files.bundleFile,
      },
      environment: {},
      file: undefined,
    })
    const ambient = { clock: systemClock, random: new SeededRandom(1), logger: new LogRecorder() }
    store = new CredentialStore(settings, ambient, ambient.logger)
    prover = {
      tries: 0,
      outcome: () => Promise.resolve(true),
      ready: [],
      hurry: () => undefined,
      replace: async () => {
        prover.tries++
        return await prover.outcome()
      },
    }
    const guard = new AgentGuard(settings, ambient)
    changes = new CredentialChanges({ settings, ambient, store, guard, egress: DIRECT, prover })
  })
  afterEach(() => {
    changes.stop()
    rmSync(pki.folder, { recursive: true })
  })

  /** As whoever manages the files would replace them. */
  async function replaceFiles(): Promise<void> {
    const next = await pki.issue(AGENT)
    copyFileSync(next.certificateFile, files.certificateFile)
    copyFileSync(next.keyFile, files.keyFile)
  }

  it('tries another certificate on a tunnel before it counts as taken over', async () => {
    const before = store.credential
    await changes.reload()
    expect([prover.tries, store.credential]).to.deep.equal([0, before])
    await replaceFiles()
    await changes.reload()
    expect(prover.tries).to.equal(1)
    expect(store.credential.certificatePem).not.to.equal(before.certificatePem)
  })

  it('goes back to the one before where no gateway lets the other in, says so, and tries again', async () => {
    const before = store.credential
    await replaceFiles()
    prover.outcome = () => Promise.reject(new PosternError('PEER_REFUSED', 'not you'))
    await rejection(changes.reload(), 'PEER_REFUSED')
    expect(store.credential).to.equal(before)
    expect(
      store
        .reasons(Date.now())
        .map(({ text }) => text)
        .join(),
    ).to.include('not you')
    prover.outcome = () => Promise.resolve(true)
    await changes.reload()
    expect(store.credential).not.to.equal(before)
    expect(store.reasons(Date.now())).to.deep.equal([])
  })

  it('makes one change after another, whatever becomes of each', async () => {
    let running = 0
    prover.outcome = async () => {
      expect(++running).to.equal(1)
      await new Promise(setImmediate)
      running--
      throw new PosternError('PEER_REFUSED', 'not you')
    }
    await replaceFiles()
    const ends = await Promise.allSettled([changes.reload(), changes.reload(), changes.reload()])
    expect(ends.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected', 'rejected'])
    expect(prover.tries).to.equal(3)
  })

  it('takes no bundle that nobody signed, and orders no renewal of files that are not ours', async () => {
    await rejection(changes.adopt([Buffer.from('nonsense')]), 'BUNDLE_REFUSED')
    changes.orderRenewal(0)
    expect(changes.renewal).to.equal(undefined)
  })
})
