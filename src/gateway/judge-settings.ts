import { PosternError } from '../base/errors.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import { KEY_UNOPENED, protectionOf } from '../identity/passphrase.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import { Access } from './access/access.ts'
import { judgeApiSettings } from './api/api.ts'
import { OwnIdentity } from './ca/ca.ts'

/**
 * Judges settings as a run would, the files that they name included, and runs no program of theirs. Returns what
 * was left out for that reason, as a text; undefined: nothing.
 * @throws what a run would
 */
export function judgeGatewaySettings(
  settings: GatewaySettings,
  ambient: Ambient,
): string | undefined {
  Access.judge(settings)
  judgeApiSettings(settings)
  processParts(settings, ambient)
  const command = settings['identity.passphraseCommand']
  const opened = { ...settings, 'identity.passphraseCommand': [] }
  try {
    new OwnIdentity(opened, protectionOf(opened), ambient.clock)
    return undefined
  } catch (error) {
    const isLocked = error instanceof PosternError && error.code === 'KEY_LOCKED'
    if (!isLocked || command.length === 0) throw error
    return KEY_UNOPENED
  }
}
