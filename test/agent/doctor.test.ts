import { rmSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import type { CheckStep } from '../../src/agent/doctor/doctor.ts'
import { fileSteps, failed } from '../../src/agent/doctor/certificate-steps.ts'
import { PosternError } from '../../src/base/errors.ts'
import { agentSettings } from '../support/agent-settings.ts'
import { AMBIENT } from '../support/ambient.ts'
import { AGENT, TestPki } from '../support/pki.ts'

describe('the steps of the doctor', () => {
  it('end at files that cannot be read, with the code and what to do', async () => {
    const pki = await TestPki.create()
    const files = await pki.issue(AGENT)
    const steps = (): CheckStep[] => [...fileSteps(agentSettings(files), AMBIENT.clock)]
    expect(steps().every(({ outcome }) => outcome === 'OK')).to.equal(true)
    writeFileSync(files.keyFile, 'no key', { mode: 0o600 })
    const broken = steps().at(-1)
    expect(broken?.outcome).to.equal('FAIL')
    expect(broken?.fix).not.to.equal(undefined)
    rmSync(pki.folder, { recursive: true })
  })

  it('say a failure by its code, and keep the advice', () => {
    const step = failed('dns', new PosternError('NAME_NOT_RESOLVED', 'no such host'), 'ask DNS')
    expect(step).to.deep.include({ name: 'dns', outcome: 'FAIL', fix: 'ask DNS' })
    expect(step.text).to.include('NAME_NOT_RESOLVED').and.include('no such host')
  })
})
