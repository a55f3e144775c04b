import { recordDirectory } from '../../agent/guard/guard.ts'
import type { Experiment, SignedReport } from '../../agent/prove/prove.ts'
import { VERSION } from '../../base/version.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { ASK_MS, askAgent } from '../place/place.ts'
import type { Surroundings } from '../program/program.ts'

/** Signs what was found, with what the daemon says of itself and its record. @throws FILE_UNREADABLE, DAEMON_NOT_RUNNING */
export async function signedReport(
  settings: AgentSettings,
  surroundings: Surroundings,
  nonce: string,
  experiments: readonly Experiment[],
): Promise<SignedReport> {
  const { signReport } = await import('../../agent/prove/signed-report.ts')
  const status = await askAgent(settings['status.socket'], surroundings, (agent) =>
    agent.status({}, { timeoutMs: ASK_MS }),
  )
  const { lines = 0, head = '' } = status.guard?.record ?? {}
  const at = new Date(surroundings.ambient('error', 'prove').clock.wallMs()).toISOString()
  const { identity } = status
  const program = `postern ${VERSION}`
  const record = { lines, head }
  const report = { version: 1 as const, nonce, at, identity, program, experiments, record }
  return signReport(report, recordDirectory(settings))
}
