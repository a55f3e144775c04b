import type { AgentSettings } from '../config/agent-settings.ts'
import { egressOf } from '../config/egress.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import { CredentialChanges } from './changes/changes.ts'
import { renewNow, type Renewed } from './control/control.ts'
import { AgentGuard } from './guard/guard.ts'
import { CredentialStore } from './credential/credential.ts'

/**
 * Renews the certificate without a daemon: over EST, or by the proof of the key. `kindName`: of the new key;
 * undefined: as it is. @throws what reading the identity throws, and as renewNow
 */
export async function renewOnce(
  settings: AgentSettings,
  ambient: Ambient,
  kindName: string | undefined,
): Promise<Renewed> {
  const store = new CredentialStore(settings, ambient, ambient.logger)
  const egress = egressOf(settings)
  const noTunnels = { ready: [], replace: () => Promise.resolve(false), hurry: () => undefined }
  const guard = new AgentGuard(settings, ambient)
  const ports = { settings, ambient, store, guard, egress, prover: noTunnels }
  const changes = new CredentialChanges(ports)
  return await renewNow({ store, changes }, kindName)
}
