import type { AgentSettings } from '../../config/agent-settings.ts'
import { egressOf } from '../../config/egress.ts'
import { asPosternError } from '../../base/errors.ts'
import { Authority, USAGE_CLIENT } from '../../identity/authority.ts'
import type { Credential } from '../../identity/key-files.ts'
import { identityUri } from '../../identity/name.ts'
import { attemptTls, type Attempt, type AttemptOutcome } from '../../transport/attempt-tls.ts'
import { notShown, shown, type Experiment } from './experiment.ts'

const HOUR_MS = 3_600_000

/** What the gateway is to refuse: a name, a promise, and the handshake that would break it. */
interface Refusal {
  readonly name: string
  readonly promise: string
  readonly attempt: Partial<Attempt>
}

/**
 * What the gateway is to refuse, each tried at its door: old versions, weak suites, no certificate, one of another CA. That it
 * refuses says nothing where it would take nobody: our own certificate must be let in before and after.
 */
export async function gatewayExperiments(
  settings: AgentSettings,
  credential: Credential,
  nowMs: number,
): Promise<readonly Experiment[]> {
  const at = doorOf(settings, credential.bundlePem)
  const { certificatePem, keyPem } = credential
  const own = { certificatePem, keyPem }
  const refusals = await refusalsOf(credential, nowMs)
  const before = await tried(at, own)
  const outcomes: AttemptOutcome[] = []
  for (const { attempt } of refusals) outcomes.push(await tried(at, attempt))
  const after = await tried(at, own)
  const control = [before, after].find(({ outcome }) => outcome !== 'accepted')
  const { host, port } = settings['gateway.address']
  const peer = `${host}:${String(port)}`
  return refusals.map(({ name, promise }, i) => {
    const { outcome, text } = outcomes[i] ?? before
    if (control !== undefined) {
      const why = `${peer} does not let our own certificate in either (${control.text}): that it refuses others says nothing`
      return notShown(name, promise, why)
    }
    if (outcome === 'unknown') return notShown(name, promise, `${peer}: ${text}`)
    const evidence = `${peer} answered: ${text}; our own certificate was let in before and after`
    return shown(name, promise, outcome !== 'accepted', evidence)
  })
}

async function refusalsOf({ identity }: Credential, nowMs: number): Promise<readonly Refusal[]> {
  const validity = {
    notBefore: new Date(nowMs - HOUR_MS),
    notAfter: new Date(nowMs + HOUR_MS),
  }
  const root = await Authority.createRoot('a foreign root', validity)
  const { certificatePem, keyPem } = await root.issueLeaf({
    commonName: 'a foreign agent',
    uris: [identityUri(identity)],
    usage: [USAGE_CLIENT],
    ...validity,
  })
  return [
    {
      name: 'tls-versions',
      promise: 'TLS below 1.2 is refused',
      attempt: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' },
    },
    {
      name: 'tls-suites',
      promise: 'a suite without forward secrecy is refused',
      attempt: { maxVersion: 'TLSv1.2', ciphers: 'AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0' },
    },
    { name: 'no-certificate', promise: 'nobody comes in without a certificate', attempt: {} },
    {
      name: 'foreign-ca',
      promise: 'a certificate of another CA is refused, whatever its name',
      attempt: { certificatePem, keyPem },
    },
  ]
}

type Door = (attempt: Partial<Attempt>) => Promise<AttemptOutcome>

function doorOf(settings: AgentSettings, bundlePem: string): Door {
  const { host, port } = settings['gateway.address']
  const serverName = settings['gateway.serverName'] ?? host
  const egress = egressOf(settings)
  const proxy = egress.proxyFor(host, port)
  return async (attempt) => {
    const through = proxy === undefined ? undefined : await egress.through(proxy, { host, port })
    return await attemptTls({ host, port, serverName, bundlePem, through, ...attempt })
  }
}

async function tried(at: Door, attempt: Partial<Attempt>): Promise<AttemptOutcome> {
  try {
    return await at(attempt)
  } catch (error) {
    return { outcome: 'unknown', text: asPosternError(error).rawMessage }
  }
}
