import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AGENT_METRICS } from '../../src/agent/control/metrics.ts'
import { GATEWAY_METRICS } from '../../src/gateway/control/metrics.ts'
import { runTool } from '../support/openssl.ts'

const ALERTS = fileURLToPath(new URL('../../monitoring/alerts.yaml', import.meta.url))
const CASES = fileURLToPath(new URL('alerts.yaml', import.meta.url))

describe('the alerting rules', function () {
  it('are rules to Prometheus, about metrics that there are', () => {
    const { status, output } = runTool('promtool', ['check', 'rules', ALERTS])
    expect(status, output).to.equal(0)
    const known = new Set([...AGENT_METRICS, ...GATEWAY_METRICS].map(({ name }) => name))
    const expressions = readFileSync(ALERTS, 'utf8').match(/(?<=expr: ).*/g) ?? []
    expect(expressions).to.have.length(16)
    for (const expression of expressions)
      for (const [name] of expression.matchAll(/postern_\w+/g))
        expect(known, expression).to.include(name)
  })

  it('fire when something is wrong, each one, and not when all is well', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-alerts-'))
    try {
      const cases = join(folder, 'cases.yaml')
      writeFileSync(cases, readFileSync(CASES, 'utf8').replace('ALERTS\n', `${ALERTS}\n`))
      const { status, output } = runTool('promtool', ['test', 'rules', cases])
      expect(status, output).to.equal(0)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
