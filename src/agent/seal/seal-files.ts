import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { readPublicFile } from '../../identity/key-files.ts'
import type { Identity } from '../../identity/name.ts'
import { makeFolder } from '../../identity/state-files.ts'
import { makeSealingKey, readSealingKey, type SealingKey } from '../../seal/sealing-key.ts'
import { readAuthorities, type SealTrust } from '../../seal/trust.ts'
import { vendorRoot } from '../../seal/vendor-roots.ts'

/** The settings that say how sealed sessions are proven at both ends. */
export type SealSettings = Pick<
  AgentSettings,
  'seal.keyFile' | 'seal.certificateFile' | 'seal.callers' | 'seal.callerCaFile' | 'state.directory'
>

/** Where the sealing key of an agent lies: where the settings say, or where the agent makes one. */
export function sealingKeyFile(
  settings: Pick<SealSettings, 'seal.keyFile' | 'state.directory'>,
): string {
  return settings['seal.keyFile'] ?? join(settings['state.directory'], 'seal-key.pem')
}

/** Reads the sealing key of an agent, and makes it where there is none and none is named. @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE, STATE_UNWRITABLE */
export function agentSealingKey(settings: SealSettings): SealingKey {
  const keyFile = sealingKeyFile(settings)
  if (settings['seal.keyFile'] === undefined && !existsSync(keyFile)) {
    if (!existsSync(settings['state.directory'])) makeFolder(settings['state.directory'])
    makeSealingKey(keyFile)
  }
  return readSealingKey({ keyFile, certificateFile: settings['seal.certificateFile'] })
}

/** Reads whom an agent knows first-hand. `bundlePem`: the roots of the vendor. @throws FILE_UNREADABLE, CERTIFICATE_UNUSABLE, CONFIG_INVALID for a CA of the vendor's */
export function callerTrust(settings: SealSettings, bundlePem: string | undefined): SealTrust {
  const caFile = settings['seal.callerCaFile']
  const authorities =
    caFile === undefined ? { roots: [], crls: [] } : readAuthorities(readPublicFile(caFile), caFile)
  const theirs = bundlePem === undefined ? undefined : vendorRoot(authorities.roots, bundlePem)
  if (theirs !== undefined) {
    const text = `seal.callerCaFile: ${String(caFile)} holds a CA of the vendor's, who could then pose as every caller: it must be one of your own`
    throw new PosternError('CONFIG_INVALID', text)
  }
  const pins = settings['seal.callers'].map(({ caller, pin }): [string, Identity] => [
    pin,
    { role: 'caller', trustDomain: '', caller },
  ])
  return { ...authorities, pins: new Map(pins) }
}

/** Judges the settings as a start would, and makes no key. @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE, CONFIG_INVALID */
export function judgeSeal(settings: SealSettings, bundlePem: string | undefined): void {
  callerTrust(settings, bundlePem)
  if (existsSync(sealingKeyFile(settings)) || settings['seal.keyFile'] !== undefined)
    agentSealingKey(settings)
}
