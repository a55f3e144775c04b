import { PosternError } from '../base/errors.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { KEY_UNOPENED } from '../identity/passphrase.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import { Agent } from './agent.ts'
import { judgeJoin } from './join.ts'
import { Serving } from './serving.ts'

/**
 * Judges settings as a run would, the files that they name included, and runs no program of theirs. Returns what
 * was left out for that reason, as a text; undefined: nothing.
 * @throws what a run would
 */
export function judgeAgentSettings(settings: AgentSettings, ambient: Ambient): string | undefined {
  const command = settings['identity.passphraseCommand']
  try {
    new Agent({ ...settings, 'identity.passphraseCommand': [] }, ambient)
    return undefined
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    const isUnopened = error.code === 'KEY_LOCKED' && command.length > 0
    if (!isUnopened && error.code !== 'NOT_ENROLLED') throw error
    judgeServing(settings, ambient)
    if (isUnopened) return KEY_UNOPENED
    // Without an identity yet, what it will join with is judged in its place.
    judgeJoin(settings)
    return undefined
  }
}

/** What needs no identity: services, rules, probes and limits. */
function judgeServing(settings: AgentSettings, ambient: Ambient): void {
  const process = processParts(settings, ambient)
  new Serving(settings, { ambient, process, own: [], onChange: () => undefined })
}
