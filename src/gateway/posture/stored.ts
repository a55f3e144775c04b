import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { about, seen, type Finding, type Seen } from '../../base/finding.ts'
import {
  lookAtFileSystem,
  lookAtHardening,
  lookAtKey,
  lookAtMemory,
  lookAtMode,
} from '../../identity/at-rest.ts'

const KEYS_MAX = 50

/** Looks at what a gateway keeps: its store, which holds definitions of tasks, and the keys of its CAs and its own. */
export function storedFindings(settings: GatewaySettings): Finding[] {
  const { 'records.file': store, 'ca.directory': ca } = settings
  const { 'identity.directory': own, 'identity.keyFile': key } = settings
  return [
    ...(store === undefined ? [] : storeFindings(store)),
    ...(ca === undefined ? [] : about('CA', ca, folder(ca))),
    ...(own === undefined ? [] : about('identity', own, folder(own))),
    ...(key === undefined ? [] : about('identity', key, [lookAtMode(key), ...keyOf(key)])),
  ]
}

function storeFindings(path: string): Finding[] {
  const local = 'SQLite, within the process: nothing of it goes over a network'
  return about('store', path, [
    seen('encryption in transit', 'OK', local),
    lookAtMode(path),
    lookAtFileSystem(dirname(path)),
  ])
}

function folder(path: string): Seen[] {
  if (!existsSync(path)) return [seen('others kept out', 'UNKNOWN', 'it is not there')]
  const keys = readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /key.*\.pem$|\.key$/.test(name) && !name.includes('.pub.'))
    .slice(0, KEYS_MAX)
  const bare = keys.filter((name) => lookAtKey(join(path, name))?.outcome === 'WARN')
  const outcome = keys.length === 0 ? 'UNKNOWN' : bare.length === 0 ? 'OK' : 'WARN'
  const evidence =
    keys.length === 0
      ? 'no key is in it'
      : bare.length === 0
        ? `all ${String(keys.length)} are encrypted with a passphrase`
        : `not encrypted: ${bare.slice(0, 5).join(', ')}; identity.passphraseFile encrypts them`
  return [
    lookAtMode(path),
    lookAtFileSystem(path),
    seen('private keys encrypted', outcome, evidence),
  ]
}

function keyOf(path: string): Seen[] {
  const found = lookAtKey(path)
  return found === undefined ? [] : [found]
}

/** Looks at the process, as the kernel tells. */
export function processFindings(): Finding[] {
  return [
    ...about('gateway', 'memory', lookAtMemory()),
    ...about('gateway', 'process', lookAtHardening()),
  ]
}
