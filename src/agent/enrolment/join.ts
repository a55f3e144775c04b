import { policyOf, regionRule } from '../guard/guard.ts'
import { readFileSync } from 'node:fs'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { pause } from '../../base/pause.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { Generations } from '../../identity/generations.ts'
import { identityUri } from '../../identity/name.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import { backoffMs } from '../../tunnel/backoff.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import { egressOf } from '../../config/egress.ts'
import { enroll } from './enroll.ts'
import { isManaged } from '../credential/credential.ts'

const TOKEN_BYTES_MAX = 16 * 1024
/** A refused token may be replaced by a better one, which each try reads anew. */
const REFUSED_MS = 60_000

/**
 * Enrols where there is no identity yet and the settings say with what; tries again until it succeeds
 * or the signal aborts. A crash between its steps costs nothing: the next start goes on.
 * @throws NOT_ENROLLED where the settings say nothing, CONFIG_INVALID
 */
export async function joinWhenNeeded(
  settings: AgentSettings,
  ambient: Ambient,
  signal: AbortSignal,
  onFailure: (reason: string) => void = () => undefined,
): Promise<void> {
  if (!isManaged(settings)) return
  const folder = settings['state.directory']
  const protection = protectionOf(settings)
  const generations = new Generations(folder, protection)
  if (generations.current !== undefined) return
  const request = judgeJoin(settings)
  const { clock, random } = ambient
  const logger = ambient.logger.child({ component: 'enrolment' })
  const backoff = { minMs: settings['backoff.min'], maxMs: settings['backoff.max'] }
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const onStep = (step: string): void => {
        logger.info({ step }, 'enrolling')
      }
      const token = readToken(request.tokenFile)
      const { identity, notAfterMs } = await enroll(
        { ...request, token, onStep },
        generations,
        () => clock.wallMs(),
      )
      const notAfter = new Date(notAfterMs).toISOString()
      logger.info({ subject: identityUri(identity), notAfter }, 'enrolled')
      return
    } catch (error) {
      const { code, rawMessage: reason, recovery } = asPosternError(error)
      onFailure(`${code}: ${reason}`)
      // A token that is not there yet may still come.
      const isFinal = recovery === 'give-up' && code !== 'FILE_UNREADABLE'
      const delayMs = isFinal ? REFUSED_MS : backoffMs(attempt, backoff, random)
      const facts = { code, reason, attempt: attempt + 1, delayMs: Math.round(delayMs) }
      if (isFinal) logger.error(facts, 'enrolment is refused: somebody must act, retrying slowly')
      else logger.warn(facts, 'could not enrol, retrying')
      await pause(clock, delayMs, signal)
    }
  }
}

/** What the settings say of joining. @throws NOT_ENROLLED where nothing, CONFIG_INVALID */
export function judgeJoin(settings: AgentSettings) {
  const gateway = settings['join.gateway']
  const tokenFile = settings['join.tokenFile']
  const bundleFile = settings['join.caBundleFile']
  const pins = settings['join.caPins']
  if (gateway === undefined || tokenFile === undefined) {
    const folder = settings['state.directory']
    const text = `${folder} holds no identity: run agent enroll, or set join.gateway, join.tokenFile and join.caPins`
    throw new PosternError('NOT_ENROLLED', text, { path: folder })
  }
  if (pins.length === 0 && bundleFile === undefined) {
    const text = 'join: caPins or caBundleFile is missing: without one anybody could be the gateway'
    throw new PosternError('CONFIG_INVALID', text)
  }
  const bad = pins.find((pin) => !/^sha256:[0-9a-f]{64}$/.test(pin))
  if (bad !== undefined)
    throw new PosternError(
      'CONFIG_INVALID',
      `join.caPins: ${JSON.stringify(bad)} is not sha256:HEX`,
    )
  return {
    gateway: new URL(gateway),
    tokenFile,
    pins,
    bundlePem: bundleFile === undefined ? undefined : readText(bundleFile),
    trustDomain: settings.trustDomain,
    keyKind: settings['join.key'],
    egress: egressOf(settings),
    refuse: regionRule(policyOf(settings)),
  }
}

/** @throws FILE_UNREADABLE */
function readToken(path: string): string {
  const token = readText(path).trim()
  if (token !== '' && token.length <= TOKEN_BYTES_MAX && !/\s/.test(token)) return token
  throw new PosternError('FILE_UNREADABLE', `${path} does not hold one token`, { path })
}

/** @throws FILE_UNREADABLE */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}
