import { accessSync, constants } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, isAbsolute, join } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

interface PathSettings {
  readonly via: readonly string[]
  readonly 'cloudflared.path': string | undefined
}

const NAME = 'cloudflared'

/** Settings that name no cloudflared take that of CLOUDFLARED_BIN, of PATH, or of the npm package, as far as one is needed. */
export function withCloudflared<T extends PathSettings>(settings: T, environment: Environment): T {
  if (settings['cloudflared.path'] !== undefined) return settings
  const { CLOUDFLARED_BIN: named, PATH: path = '' } = environment
  const onPath = path
    .split(delimiter)
    .filter(isAbsolute)
    .map((folder) => join(folder, NAME))
  const found = named !== undefined && named !== '' ? named : (onPath.find(isProgram) ?? packaged())
  return { ...settings, 'cloudflared.path': found }
}

/** That of the npm package `cloudflared`, where somebody has installed it and let it fetch its program. Nothing of the package runs. */
function packaged(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve('cloudflared/package.json')
    const path = join(dirname(manifest), 'bin', NAME)
    return isProgram(path) ? path : undefined
  } catch {
    // There is no such package.
    return undefined
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // There is none, or it cannot be run.
    return false
  }
}
