import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { EdgeStandIn } from './edge.ts'

const FAKE = fileURLToPath(new URL('fake-cloudflared.ts', import.meta.url))
const TOKEN = {
  a: 'account',
  t: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  s: 'c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXg=',
}

/** How a stand-in for cloudflared is made. */
export interface ProgramOptions {
  readonly name?: string
  /** A real one to run; undefined: the stand-in. */
  readonly real?: string | undefined
  /** Set beside those that lead to the edge, such as those that make the stand-in misbehave. */
  readonly variables?: Readonly<Record<string, string>>
}

/** Writes a cloudflared that comes to a stand-in for the edge: its own arguments go through as they are. Returns its path. */
export function writeProgram(
  folder: string,
  { port, caFile }: EdgeStandIn,
  { name = 'cloudflared', real, variables = {} }: ProgramOptions = {},
): string {
  const path = join(folder, name)
  const place = `127.0.0.1:${String(port)}`
  const own = { TUNNEL_EDGE: `${place},${place}`, TUNNEL_CACERT: caFile, FAKE_SELF: path }
  const exports = Object.entries({ ...own, ...variables }).map(
    ([key, value]) => `${key}='${value}'`,
  )
  const command = real === undefined ? `'${process.execPath}' '${FAKE}'` : `'${real}'`
  writeFileSync(path, `#!/bin/sh\nexport ${exports.join(' ')}\nexec ${command} "$@"\n`)
  chmodSync(path, 0o755)
  return path
}

/** Writes the token of a tunnel. Returns its path. */
export function writeTunnelToken(folder: string): string {
  const path = join(folder, 'tunnel-token')
  const text = Buffer.from(JSON.stringify(TOKEN)).toString('base64')
  writeFileSync(path, text, { mode: 0o600 })
  return path
}
