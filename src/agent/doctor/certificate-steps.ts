import type { Clock } from '../../base/clock.ts'
import { asPosternError, PosternError, type ErrorCode } from '../../base/errors.ts'
import { silentLogger } from '../../base/logger.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { Generations } from '../../identity/generations.ts'
import { readCredential, type Credential } from '../../identity/key-files.ts'
import { identityUri } from '../../identity/name.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import { renewAtMs } from '../../identity/schedule.ts'
import { validatePath } from '../../identity/validation/validation.ts'
import { dialTls } from '../../transport/tls-dial.ts'
import { egressOf } from '../../config/egress.ts'
import { readEnrollUrl, diagnose } from '../enrolment/enrolment.ts'
import { GatewayCrls, enrolledFiles, isManaged, namedFiles } from '../credential/credential.ts'

const DIAL_MS_MAX = 10_000
/** Certificates are backdated by 5 min. */
const SKEW_MS_MAX = 60_000
const FILE_FIXES: Readonly<Partial<Record<ErrorCode, string>>> = {
  NOT_ENROLLED: 'run agent enroll; or agent run, with join.* in its settings',
  KEY_LOCKED: 'set identity.passphraseFile or identity.passphraseCommand to its passphrase',
  CONFIG_INVALID: 'mend the settings',
}

/** One thing that was looked at. */
export interface CheckStep {
  readonly name: string
  readonly outcome: 'OK' | 'WARN' | 'FAIL' | 'SKIP'
  readonly text: string
  /** What to do. */
  readonly fix?: string
}

/** The agent's certificate, step by step: files, chain, time, the gateway's own chain, its verdict. */
export async function* certificateSteps(
  settings: AgentSettings,
  clock: Clock,
): AsyncGenerator<CheckStep> {
  const credential = yield* fileSteps(settings, clock)
  if (credential === undefined) return
  yield await gatewayStep(settings, credential, clock.wallMs())
  yield* verdictSteps(settings, credential, clock)
}

/** What can be judged without a network; returns the credential where there is one. */
export function* fileSteps(
  settings: AgentSettings,
  clock: Clock,
): Generator<CheckStep, Credential | undefined> {
  let credential: Credential
  try {
    credential = read(settings, clock.wallMs())
  } catch (error) {
    const code = error instanceof PosternError ? error.code : 'INTERNAL'
    yield failed('files', error, FILE_FIXES[code] ?? 'mend the file that it names')
    return undefined
  }
  yield { name: 'files', outcome: 'OK', text: `${identityUri(credential.identity)}, key fits` }
  yield* credentialSteps(credential, clock.wallMs(), isManaged(settings))
  return credential
}

/** What can be judged of a credential in hand. `isOurs`: to renew. */
export function credentialSteps(
  credential: Credential,
  nowMs: number,
  isOurs: boolean,
): readonly CheckStep[] {
  return [chainStep(credential, nowMs), timeStep(credential, nowMs, isOurs)]
}

/** @throws what readCredential throws, NOT_ENROLLED, CONFIG_INVALID */
function read(settings: AgentSettings, nowMs: number): Credential {
  const protection = protectionOf(settings)
  const generations = new Generations(settings['state.directory'])
  const files = namedFiles(settings) ?? enrolledFiles(generations, settings)
  return readCredential(files, 'agent', nowMs, { protection, mayBeExpired: true })
}

function chainStep({ certificatePem, bundlePem }: Credential, timeMs: number): CheckStep {
  const [leaf, ...intermediates] = certificatesIn(certificatePem)
  const roots = certificatesIn(bundlePem)
  if (leaf === undefined) return { name: 'chain', outcome: 'FAIL', text: 'no certificate' }
  const { isValid, path, faults } = validatePath({
    leaf,
    intermediates,
    roots,
    // Time has a step of its own.
    timeMs: Math.min(Math.max(timeMs, leaf.notBeforeMs), leaf.notAfterMs),
    role: 'client',
  })
  if (isValid) {
    const text = `${String(path.length)} certificates up to a root of the bundle`
    return { name: 'chain', outcome: 'OK', text }
  }
  const text = faults.map(({ place, text: rule }) => `the ${place} ${rule}`).join('; ')
  return { name: 'chain', outcome: 'FAIL', text, fix: 'enrol anew: agent enroll --force' }
}

function timeStep(credential: Credential, nowMs: number, isOurs: boolean): CheckStep {
  const { notBeforeMs, notAfterMs, certificatePem } = credential
  const iso = (ms: number): string => new Date(ms).toISOString()
  const name = 'validity'
  if (nowMs < notBeforeMs) {
    const text = `valid from ${iso(notBeforeMs)}, our clock says ${iso(nowMs)}`
    return { name, outcome: 'FAIL', text, fix: 'set the clock of this machine (NTP)' }
  }
  if (nowMs >= notAfterMs) {
    const fix =
      'if that clock is right: agent certs renew within the grace of the gateway, else a new join token'
    const text = `expired on ${iso(notAfterMs)}; our clock says ${iso(nowMs)}`
    return { name, outcome: 'FAIL', text, fix }
  }
  const serial = certificatesIn(certificatePem)[0]?.serial.toString('hex') ?? ''
  const isDue = nowMs > renewAtMs({ serial, notBeforeMs, notAfterMs })
  const text = `until ${iso(notAfterMs)}`
  if (!isDue) return { name, outcome: 'OK', text }
  const fix = isOurs ? 'agent status says why it is not renewed' : 'ask who manages the files'
  return { name, outcome: 'WARN', text: `${text}, due for renewal`, fix }
}

async function gatewayStep(
  settings: AgentSettings,
  credential: Credential,
  nowMs: number,
): Promise<CheckStep> {
  const name = 'gateway'
  const { host, port } = settings['gateway.address']
  try {
    const wire = await dialTls({
      host,
      port,
      serverName: settings['gateway.serverName'],
      credential,
      expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
      timeoutMs: DIAL_MS_MAX,
      nowMs,
      egress: egressOf(settings),
    })
    wire.destroy()
    const refusal = gatewayRefusal(settings, wire.facts.certificate)
    if (refusal !== undefined) return failed(name, refusal, GATEWAY_FIX)
    const { identity, tlsVersion, group } = wire.facts
    return { name, outcome: 'OK', text: `${identityUri(identity)}, ${tlsVersion}, ${group}` }
  } catch (error) {
    return failed(name, error, 'docs/ERRORS.md says what the code means')
  }
}

/** What the gateway says of the certificate, and how far apart the clocks are. */
export async function* verdictSteps(
  settings: AgentSettings,
  credential: Credential,
  clock: Clock,
): AsyncGenerator<CheckStep> {
  const name = 'verdict'
  const named = settings['identity.enrollUrl']
  const url = named === undefined ? readEnrollUrl(settings['state.directory']) : new URL(named)
  if (url === undefined) {
    const text = 'identity.enrollUrl is not set: the gateway cannot be asked'
    yield { name, outcome: 'SKIP', text }
    return
  }
  try {
    const trusting = { credential, issuingKeys: [], egress: egressOf(settings) }
    const { verdict, text, gatewayTimeMs } = await diagnose(url, trusting)
    const skewMs = gatewayTimeMs - clock.wallMs()
    yield {
      name: 'clock',
      outcome: Math.abs(skewMs) > SKEW_MS_MAX ? 'WARN' : 'OK',
      text: `the gateway's is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${skewMs < 0 ? 'behind' : 'ahead of'} ours`,
      ...(Math.abs(skewMs) > SKEW_MS_MAX ? { fix: 'set the clock that is wrong (NTP)' } : {}),
    }
    const isFine = verdict === 'fine'
    const said = `the gateway says: ${verdict} (${text})`
    yield isFine
      ? { name, outcome: 'OK', text: said }
      : { name, outcome: 'FAIL', text: said, fix: FIXES[verdict] }
  } catch (error) {
    yield failed(name, error, 'the enrolment address (identity.enrollUrl) does not answer')
  }
}

const FIXES = {
  expired: 'agent certs renew within the grace of the gateway, else a new join token',
  'not-yet-valid': 'set the clock that is wrong (NTP)',
  'unknown-issuer': 'this gateway has not issued it: enrol there',
  superseded: 'another process renewed it: is this a copy? agent enroll --force',
  revoked: 'ask who runs the gateway; a new join token lets it in again',
  locked: 'ask who runs the gateway: gateway clusters unlock',
} as const

/** Why a daemon with these settings would refuse a gateway whose chain was verified. */
export function gatewayRefusal(
  settings: AgentSettings,
  certificate: Buffer,
): PosternError | undefined {
  if (!isManaged(settings)) return undefined
  const folder = settings['state.directory']
  const { issuingKeys } = new Generations(folder).trust
  return new GatewayCrls(folder, silentLogger).refusalOf(certificate, issuingKeys)
}

/** The advice where a gateway's certificate is revoked or its CA retired. */
export const GATEWAY_FIX =
  'somebody uses a stolen key of a gateway, or it was not given another: ask who runs it'

/** Makes the step of something that failed. */
export function failed(name: string, error: unknown, fix: string): CheckStep {
  const { code, rawMessage } = error instanceof PosternError ? error : asPosternError(error)
  return { name, outcome: 'FAIL', text: `${code}: ${rawMessage}`, fix }
}
