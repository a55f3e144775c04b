import { addressText } from '../../base/address.ts'
import { asPosternError, type ErrorCode } from '../../base/errors.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { egressOf } from '../../config/egress.ts'
import { addressesOf, reachTcp } from '../../transport/reach.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import { frontOf, judgeCarriers, judgeProgram, judgeTunnelToken } from '../carriers/carriers.ts'
import { failed, type CheckStep } from './certificate-steps.ts'

const REACH_MS_MAX = 5000
const OPEN_MS_MAX = 10_000
/** Where cloudflared goes out, in each of Cloudflare's two regions. */
const EDGES = ['region1.v2.argotunnel.com', 'region2.v2.argotunnel.com']
const EDGE_PORT = 7844
const FRONT_FIXES: Readonly<Partial<Record<ErrorCode, string>>> = {
  FRONT_LOGIN:
    'give the application of that host name a policy of action Service Auth that includes the service token, and set cloudflare.serviceTokenFile',
  FRONT_FORBIDDEN:
    'is the service token of another application, or revoked? Security events of the zone name the rule, by the ray',
  FRONT_NO_WEBSOCKET:
    'turn WebSockets on (zone, Network), and let no proxy between take Upgrade away',
  FRONT_REFUSED:
    'does the connector of the control plane run, and does its ingress for that host name lead to agents.listen?',
}

/** The way to Cloudflare's front: token, name, port, Access. Returns whether a session may be tried. */
export async function* frontSteps(
  settings: AgentSettings,
  ambient: Ambient,
): AsyncGenerator<CheckStep, boolean> {
  try {
    judgeCarriers({ ...settings, via: ['cloudflare-dial'] })
  } catch (error) {
    yield failed('front', error, 'mend the settings cloudflare.*')
    return false
  }
  const front = frontOf(settings, ambient, egressOf(settings))
  const { host, port } = front.address
  if (egressOf(settings).proxyFor(host, port) === undefined) {
    const reached = yield* reachSteps([host], port, ambient, 'check cloudflare.address')
    if (reached === 0) return false
  }
  const { clock } = ambient
  const startMs = clock.nowMs()
  const abort = new AbortController()
  const cancelTimer = clock.startTimer(OPEN_MS_MAX, () => {
    abort.abort()
  })
  try {
    const stream = await front.open(abort.signal)
    stream.destroy()
    const ms = (clock.nowMs() - startMs).toFixed(1)
    const text = `${addressText(front.address)} opened a WebSocket in ${ms} ms`
    yield { name: 'access', outcome: 'OK', text }
    return true
  } catch (error) {
    const { code } = asPosternError(error)
    yield failed('access', error, FRONT_FIXES[code] ?? 'docs/CLOUDFLARE.md says what to look at')
    return false
  } finally {
    cancelTimer()
  }
}

/** What the connector needs: its program, its token, the way out. That a gateway comes through it the daemon alone sees. */
export async function* connectorSteps(
  settings: AgentSettings,
  ambient: Ambient,
): AsyncGenerator<CheckStep> {
  try {
    const { 'cloudflared.path': named, 'cloudflared.sha256': pin } = settings
    const program = await judgeProgram(named, pin, settings['state.directory'])
    const { path, version, isPinned } = program
    const how = isPinned ? 'as pinned' : 'not pinned (cloudflared.sha256)'
    yield { name: 'cloudflared', outcome: 'OK', text: `${path}, version ${version}, ${how}` }
  } catch (error) {
    yield failed('cloudflared', error, 'install it, or name it by cloudflared.path')
  }
  try {
    judgeCarriers({ ...settings, via: ['cloudflare-connector'] })
    const tunnel = judgeTunnelToken(settings['cloudflared.tokenFile'] ?? '')
    yield { name: 'token', outcome: 'OK', text: `for tunnel ${tunnel}` }
  } catch (error) {
    yield failed(
      'token',
      error,
      'cloudflared.tokenFile: the token of the tunnel, alone in the file',
    )
  }
  const fix = 'let this machine out to port 7844, TCP and UDP; cloudflared uses no proxy'
  yield* reachSteps(EDGES, EDGE_PORT, ambient, fix)
}

async function* reachSteps(
  hosts: readonly string[],
  port: number,
  { clock }: Ambient,
  fix: string,
): AsyncGenerator<CheckStep, number> {
  let reached = 0
  for (const host of hosts) {
    try {
      const [address = host] = await addressesOf(host)
      const ms = await reachTcp({ host: address, port }, clock, REACH_MS_MAX)
      const text = `${host} is ${address}, port ${String(port)} in ${ms.toFixed(1)} ms`
      yield { name: 'reach', outcome: 'OK', text }
      reached++
    } catch (error) {
      yield failed('reach', error, fix)
    }
  }
  return reached
}
