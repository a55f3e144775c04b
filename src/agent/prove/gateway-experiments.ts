import type { AgentSettings } from '../../config/agent-settings.ts'
import { egressOf } from '../../config/egress.ts'
import { asPosternError } from '../../base/errors.ts'
import { Authority, USAGE_CLIENT } from '../../identity/authority.ts'
import type { Credential } from '../../identity/key-files.ts'
import { identityUri } from '../../identity/name.ts'
import { attemptTls, type Attempt, type AttemptOutcome } from '../../transport/attempt-tls.ts'
import { notShown, shown, type Experiment } from './experiment.ts'

const HOUR_MS = 3_600_000

/** What the gateway is to refuse, each tried at its door: old versions, weak suites, no certificate, one of another CA. */
export async function* gatewayExperiments(
  settings: AgentSettings,
  { bundlePem, identity }: Pick<Credential, 'bundlePem' | 'identity'>,
  nowMs: number,
): AsyncGenerator<Experiment> {
  const at = doorOf(settings, bundlePem)
  yield await refusal(['tls-versions', 'TLS below 1.2 is refused'], () =>
    at({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }),
  )
  yield await refusal(['tls-suites', 'a suite without forward secrecy is refused'], () =>
    at({ maxVersion: 'TLSv1.2', ciphers: 'AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0' }),
  )
  yield await refusal(['no-certificate', 'nobody comes in without a certificate'], () => at({}))
  const root = await Authority.createRoot('a foreign root', validity(nowMs))
  const { certificatePem, keyPem } = await root.issueLeaf({
    commonName: 'a foreign agent',
    uris: [identityUri(identity)],
    usage: [USAGE_CLIENT],
    ...validity(nowMs),
  })
  yield await refusal(
    ['foreign-ca', 'a certificate of another CA is refused, whatever its name'],
    () => at({ certificatePem, keyPem }),
  )
}

type Door = (attempt: Partial<Attempt>) => Promise<AttemptOutcome & { readonly peer: string }>

function doorOf(settings: AgentSettings, bundlePem: string): Door {
  const { host, port } = settings['gateway.address']
  const serverName = settings['gateway.serverName'] ?? host
  const peer = `${host}:${String(port)}`
  const egress = egressOf(settings)
  const proxy = egress.proxyFor(host, port)
  return async (attempt) => {
    const through = proxy === undefined ? undefined : await egress.through(proxy, { host, port })
    const tried = { host, port, serverName, bundlePem, through, ...attempt }
    return { ...(await attemptTls(tried)), peer }
  }
}

async function refusal(
  [name, promise]: readonly [string, string],
  attempt: () => ReturnType<Door>,
): Promise<Experiment> {
  try {
    const { outcome, text, peer } = await attempt()
    if (outcome === 'unknown') return notShown(name, promise, `${peer}: ${text}`)
    return shown(name, promise, outcome === 'refused', `${peer} answered: ${text}`)
  } catch (error) {
    return notShown(name, promise, asPosternError(error).rawMessage)
  }
}

function validity(nowMs: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(nowMs - HOUR_MS), notAfter: new Date(nowMs + HOUR_MS) }
}
