import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import { CredentialStore } from '../../src/agent/credential/credential.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { agentSettings } from '../support/agent-settings.ts'
import { AMBIENT } from '../support/ambient.ts'
import { codeOf } from '../support/code-of.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { AGENT, TestPki } from '../support/pki.ts'

describe("the agent's credential", () => {
  let pki: TestPki
  let files: KeyFilePaths
  let store: CredentialStore

  beforeEach(async () => {
    pki = await TestPki.create()
    files = await pki.issue(AGENT)
    store = new CredentialStore(agentSettings(files), AMBIENT, new LogRecorder())
  })
  afterEach(() => {
    rmSync(pki.folder, { recursive: true })
  })

  it('is reported with its end, and is a reason of its own when that is past', () => {
    const { identity, notAfterMs, roots, renewalError } = store.report()
    expect(identity).to.equal('spiffe://test.postern.test/cluster/c-1/agent/a-1')
    expect([roots, renewalError]).to.deep.equal([1, undefined])
    expect(store.reasons(Date.now())).to.deep.equal([])
    expect(store.reasons(notAfterMs + 1).map(({ text }) => text)).to.deep.equal([
      'our certificate has expired',
    ])
  })

  it('stays in force where what lies on disk cannot be used, and is read again', () => {
    const before = store.credential
    writeFileSync(files.certificateFile, 'half a file')
    expect(store.hasChanged).to.equal(true)
    codeOf(() => store.reread(false), 'CERTIFICATE_UNUSABLE')
    expect(store.credential).to.equal(before)
    expect(store.hasChanged).to.equal(true)
  })

  it('is read anew from files that somebody has replaced, and enters only when told to', async () => {
    const before = store.credential
    const next = await pki.issue(AGENT)
    copyFileSync(next.certificateFile, files.certificateFile)
    copyFileSync(next.keyFile, files.keyFile)
    const credential = store.reread(false)
    expect([store.credential, store.hasChanged]).to.deep.equal([before, false])
    store.enter({ credential })
    expect(store.credential).to.equal(credential)
  })
})
