import { doctorSteps, type CheckStep } from '../../agent/doctor/doctor.ts'
import { asPosternError } from '../../base/errors.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../config/agent-settings.ts'
import type { WayName } from '../../config/carrier-settings.ts'
import { ASK_MS, askAgent } from '../place/place.ts'
import { stepText } from '../agent-certs/agent-certs.ts'
import { settingsOf, command, JSON_OPTION, type Surroundings } from '../program/program.ts'
import { withCloudflared, withPassphrase, withProxy } from '../daemon/daemon.ts'

const FAILED = 1

/** `agent doctor`: what is in the way. */
export const agentDoctor = command({
  path: 'doctor',
  describe:
    'Check each way to the gateway (via) step by step: files, chain, DNS, TCP, TLS, session, clock; through Cloudflare its token, program, port and access. --via checks others. Exit 1: a step failed.',
  settings: { table: AGENT_SETTINGS },
  options: JSON_OPTION,
  run: async (args, surroundings) => {
    const { environment, output } = surroundings
    const { values } = settingsOf(AGENT_SETTINGS, args, environment)
    const steps: CheckStep[] = []
    const settings = withCloudflared(
      withProxy(withPassphrase(values, environment), environment),
      environment,
    )
    const isDirect = settings.via.every((way) => way === 'direct')
    for (const way of settings.via) {
      if (!args.json && !isDirect) output.result(`by ${way}:`)
      for await (const step of waySteps(settings, surroundings, way)) {
        steps.push(step)
        if (!args.json) output.result(stepText(step))
      }
    }
    const isFine = steps.every(({ outcome }) => outcome !== 'FAIL')
    if (args.json) output.result(JSON.stringify({ fine: isFine, steps }, null, 2))
    return isFine ? 0 : FAILED
  },
})

async function* waySteps(
  settings: AgentSettings,
  surroundings: Surroundings,
  way: WayName,
): AsyncGenerator<CheckStep> {
  yield* doctorSteps(settings, surroundings.ambient('error', 'doctor'), way)
  if (way === 'cloudflare-connector') yield await throughConnector(settings, surroundings)
}

/** What only the daemon sees: that a gateway came through its connector, and shook hands. */
async function throughConnector(
  settings: AgentSettings,
  surroundings: Surroundings,
): Promise<CheckStep> {
  const name = 'session'
  try {
    const { tunnels, connector } = await askAgent(
      settings['status.socket'],
      surroundings,
      (agent) => agent.status({}, { timeoutMs: ASK_MS }),
    )
    const found = tunnels.find(({ via }) => via === 'cloudflare-connector')
    if (found !== undefined) {
      const text = `${found.gateway ?? '?'} came through it, ${found.tlsVersion ?? '?'}`
      return { name, outcome: 'OK', text }
    }
    const why =
      connector?.reason ?? (connector === undefined ? 'it supervises none' : connector.state)
    return {
      ...{ name, outcome: 'FAIL', text: `no gateway has come through it: ${why}` },
      fix: 'does agents.fronts of the gateways name this host, and does its ingress lead to cloudflared.listen?',
    }
  } catch (error) {
    const { rawMessage } = asPosternError(error)
    return { name, outcome: 'SKIP', text: `the running agent alone can tell: ${rawMessage}` }
  }
}
