import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AGENT_METRICS } from '../../src/agent/control/metrics.ts'
import { GATEWAY_METRICS } from '../../src/gateway/control/metrics.ts'
import { runTool } from '../support/openssl.ts'

const DASHBOARD = new URL('../../monitoring/dashboard.json', import.meta.url)

interface Panel {
  readonly id: number
  readonly title: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: readonly { readonly expr: string }[]
}

describe('the dashboard for Grafana', () => {
  const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as { panels: readonly Panel[] }
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

  it('asks for metrics that there are, and leaves few out', () => {
    const known = [...AGENT_METRICS, ...GATEWAY_METRICS].map(({ name }) => name)
    const asked = new Set(expressions.flatMap((expr) => expr.match(/postern_\w+/g) ?? []))
    for (const name of asked) expect(known).to.include(name)
    const missing = known.filter((name) => !asked.has(name) && !name.includes('timestamp'))
    expect([...new Set(missing)]).to.deep.equal(['postern_agent_certificates'])
  })

  it('asks in words that Prometheus understands', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-dashboard-'))
    try {
      const rules = expressions.map((expr, index) => ({ record: `x:${String(index)}`, expr }))
      const file = join(folder, 'rules.yaml')
      writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }))
      const { status, output } = runTool('promtool', ['check', 'rules', file])
      expect(status, output).to.equal(0)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('has panels that do not lie over one another', () => {
    expect(new Set(panels.map(({ id }) => id)).size).to.equal(panels.length)
    for (const [index, { title, gridPos: a }] of panels.entries())
      for (const { gridPos: b } of panels.slice(index + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        expect(apart, title).to.equal(true)
      }
  })
})
