import type { MetricRow, Sample } from './metrics.ts'
import { VERSION } from './version.ts'

/** The metric that tells which build runs. */
export const BUILD_METRIC: MetricRow = {
  name: 'postern_build_info',
  kind: 'gauge',
  help: '1; its labels say which version of Postern and of Node.js runs.',
  labels: ['program', 'version', 'node'],
}

/** Makes the sample of the build that runs. */
export function buildSample(program: 'agent' | 'gateway'): Sample {
  const labels = { program, version: VERSION, node: process.versions.node }
  return { name: BUILD_METRIC.name, value: 1, labels }
}
