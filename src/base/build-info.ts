import type { MetricRow, Sample } from './metrics.ts'
import { VERSION } from './version.ts'

export const BUILD_METRIC: MetricRow = {
  name: 'postern_build_info',
  kind: 'gauge',
  help: '1; its labels say which version of Postern and of Node.js runs.',
  labels: ['program', 'version', 'node'],
}

export function buildSample(program: 'agent' | 'gateway'): Sample {
  const labels = { program, version: VERSION, node: process.versions.node }
  return { name: BUILD_METRIC.name, value: 1, labels }
}
