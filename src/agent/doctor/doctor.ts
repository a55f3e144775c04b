import { refuseStreams } from '../../mux/session-owner.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { Credential } from '../../identity/key-files.ts'
import { identityUri } from '../../identity/name.ts'
import { proxyText, type Proxy } from '../../transport/egress.ts'
import { addressesOf, reachTcp } from '../../transport/reach.ts'
import { dialTls } from '../../transport/tls-dial.ts'
import { ALPN } from '../../transport/tls-options.ts'
import type { TlsWire } from '../../transport/tls-wire.ts'
import { processParts, type Ambient } from '../../tunnel/process-parts.ts'
import { RpcConnection } from '../../tunnel/rpc-connection.ts'
import {
  failed,
  fileSteps,
  GATEWAY_FIX,
  gatewayRefusal,
  verdictSteps,
  type CheckStep,
} from './certificate-steps.ts'
import { egressOf } from '../../config/egress.ts'
import type { WayName } from '../../config/carrier-settings.ts'
import { frontOf, type Carrier } from '../carriers/carriers.ts'
import { connectorSteps, frontSteps } from './carrier-steps.ts'

const REACH_MS_MAX = 5000
const PING_POLL_MS = 5
const SESSION_MS_MAX = 10_000

/**
 * The way to the gateway, step by step, each with what was measured and for a failure what to do:
 * files, chain, validity, DNS, TCP, TLS with ALPN, session and round trip, clock, the gateway's verdict.
 * Through Cloudflare: what that way needs, and its front. Needs no daemon, and disturbs none.
 */
export async function* doctorSteps(
  settings: AgentSettings,
  ambient: Ambient,
  way: WayName = 'direct',
): AsyncGenerator<CheckStep> {
  const credential = yield* fileSteps(settings, ambient.clock)
  if (way === 'cloudflare-connector') {
    yield* connectorSteps(settings, ambient)
    return
  }
  if (way === 'cloudflare-dial') {
    const isOpen = yield* frontSteps(settings, ambient)
    if (!isOpen || credential === undefined) return
    const front = frontOf(settings, ambient, egressOf(settings))
    yield* sessionSteps(settings, credential, ambient, front)
    return
  }
  const { host, port } = settings['gateway.address']
  const proxy = egressOf(settings).proxyFor(host)
  if (proxy !== undefined) {
    // Names are the proxy's to resolve, and addresses its to reach.
    yield await proxyStep(settings, proxy, ambient)
    if (credential === undefined) return
    yield* sessionSteps(settings, credential, ambient)
    yield* verdictSteps(settings, credential, ambient.clock)
    return
  }
  let addresses: readonly string[]
  try {
    addresses = await addressesOf(host)
    yield { name: 'dns', outcome: 'OK', text: `${host} is ${addresses.join(', ')}` }
  } catch (error) {
    yield failed('dns', error, 'check gateway.address, and the resolver of this machine')
    return
  }
  let reached = 0
  for (const address of addresses) {
    const step = await tcpStep(address, port, ambient)
    if (step.outcome === 'OK') reached++
    yield step
  }
  if (reached === 0 || credential === undefined) return
  yield* sessionSteps(settings, credential, ambient)
  yield* verdictSteps(settings, credential, ambient.clock)
}

async function proxyStep(
  settings: AgentSettings,
  proxy: Proxy,
  { clock }: Ambient,
): Promise<CheckStep> {
  const startMs = clock.nowMs()
  const target = settings['gateway.address']
  try {
    const socket = await egressOf(settings).through(proxy, target)
    socket.destroy()
    const ms = (clock.nowMs() - startMs).toFixed(1)
    const text = `${proxyText(proxy)} connects to ${target.host}:${String(target.port)} in ${ms} ms`
    return { name: 'proxy', outcome: 'OK', text }
  } catch (error) {
    return failed('proxy', error, 'check gateway.proxy and its password, or exempt with NO_PROXY')
  }
}

async function tcpStep(host: string, port: number, { clock }: Ambient): Promise<CheckStep> {
  try {
    const ms = await reachTcp({ host, port }, clock, REACH_MS_MAX)
    return { name: 'tcp', outcome: 'OK', text: `${host}:${String(port)} in ${ms.toFixed(1)} ms` }
  } catch (error) {
    const fix = 'is the port open outbound (firewall, egress rules), and does the gateway run?'
    return failed('tcp', error, fix)
  }
}

async function* sessionSteps(
  settings: AgentSettings,
  credential: Credential,
  ambient: Ambient,
  front?: Carrier,
): AsyncGenerator<CheckStep> {
  let wire: TlsWire
  try {
    const address = settings['gateway.address']
    wire = await dialTls({
      ...(front?.address ?? address),
      ...(front === undefined ? {} : { carrier: front.open }),
      serverName: settings['gateway.serverName'] ?? (front && address.host),
      credential,
      expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
      timeoutMs: SESSION_MS_MAX,
      nowMs: ambient.clock.wallMs(),
      egress: egressOf(settings),
    })
  } catch (error) {
    yield failed('tls', error, 'docs/ERRORS.md says what the code means and what to do')
    return
  }
  const { identity, tlsVersion, group, certificate } = wire.facts
  const refusal = gatewayRefusal(settings, certificate)
  if (refusal !== undefined) {
    wire.destroy()
    yield failed('tls', refusal, GATEWAY_FIX)
    return
  }
  const text = `${identityUri(identity)}, ${tlsVersion}, ${group}, ${ALPN}`
  yield { name: 'tls', outcome: 'OK', text }
  yield await sessionStep(wire, settings, ambient)
}

/** The session counts once the gateway has answered a ping: only then did it take our certificate. */
async function sessionStep(
  wire: TlsWire,
  settings: AgentSettings,
  ambient: Ambient,
): Promise<CheckStep> {
  const name = 'session'
  const fix =
    'the gateway closes after the handshake: the verdict below says what it has against us'
  return await new Promise((resolve) => {
    const connection = new RpcConnection(wire, 'dialer', processParts(settings, ambient), {
      onReady: () => {
        checkPing()
      },
      streams: refuseStreams('a doctor serves nothing'),
      onClosed: (_connection, error) => {
        resolve(failed(name, error, fix))
      },
    })
    const endMs = ambient.clock.nowMs() + SESSION_MS_MAX
    const checkPing = (): void => {
      const { rttMs, isOpen } = connection.session
      const isOver = ambient.clock.nowMs() > endMs
      if (rttMs === undefined && isOpen && !isOver) {
        ambient.clock.startTimer(PING_POLL_MS, checkPing)
        return
      }
      if (rttMs !== undefined)
        resolve({ name, outcome: 'OK', text: `hello and ping, round trip ${rttMs.toFixed(1)} ms` })
      wire.destroy()
    }
  })
}

export { certificateSteps, type CheckStep, credentialSteps } from './certificate-steps.ts'
