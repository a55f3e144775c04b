import { PosternError } from '../base/errors.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { egressOf } from '../config/egress.ts'
import { KEY_UNOPENED } from '../identity/passphrase.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import { judgeCarriers } from './carriers/carriers.ts'
import { CredentialStore } from './credential/credential.ts'
import { judgeJoin } from './enrolment/enrolment.ts'
import { AgentGuard } from './guard/guard.ts'
import { judgeSeal } from './seal/seal.ts'
import { Services } from './services/services.ts'

/**
 * Judges settings as a run would, the files that they name included, and runs no program of theirs. Returns what
 * was left out for that reason, as a text; undefined: nothing.
 * @throws what a run would
 */
export function judgeAgentSettings(settings: AgentSettings, ambient: Ambient): string | undefined {
  const process = processParts(settings, ambient)
  egressOf(settings)
  judgeCarriers(settings)
  const command = settings['identity.passphraseCommand']
  let left: PosternError | undefined
  let bundlePem: string | undefined
  try {
    const opened = { ...settings, 'identity.passphraseCommand': [] }
    ;({ bundlePem } = new CredentialStore(opened, ambient, ambient.logger).credential)
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    const isUnopened = error.code === 'KEY_LOCKED' && command.length > 0
    if (!isUnopened && error.code !== 'NOT_ENROLLED') throw error
    left = error
  }
  const { guard } = new AgentGuard(settings, ambient)
  new Services(settings, ambient, process, guard)
  judgeSeal(settings, bundlePem)
  if (left?.code === 'KEY_LOCKED') return KEY_UNOPENED
  // Without an identity yet, what it will join with is judged in its place.
  if (left !== undefined) judgeJoin(settings)
  return undefined
}
