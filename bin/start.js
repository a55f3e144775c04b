import { existsSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { FLAGS } from './flags.js'

const NODE_MAJOR_MIN = 24
const EXIT_USAGE = 64

/** Runs a program from the build where there is one, from the sources otherwise. */
export async function start(name) {
  const version = process.versions.node
  if (!(Number(version.split('.')[0]) >= NODE_MAJOR_MIN)) {
    process.stderr.write(
      `${name}: [RUNTIME_UNSUPPORTED] Node.js ${version} is too old; ${NODE_MAJOR_MIN} or newer is needed\n`,
    )
    process.exitCode = EXIT_USAGE
    return
  }
  for (const flag of FLAGS) setFlagsFromString(flag)
  const built = new URL(`../dist/cli/${name}.js`, import.meta.url)
  const source = new URL(`../src/cli/${name}.ts`, import.meta.url)
  await import(existsSync(source) ? source : built)
}
