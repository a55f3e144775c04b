/**
 * Makes single-file executables of both programs, with the Node.js that runs this script inside, so that
 * a machine without Node can run them: `npm run package [-- FOLDER]`, dist/bin by default.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { FLAGS } from '../bin/flags.js'
import { inlineVersion } from './inline-version.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUT = resolve(process.argv[2] ?? join(ROOT, 'dist/bin'))
const WORK = join(OUT, 'work')
const MIB = 1024 * 1024

/** Node without its symbols: a third smaller. Before it is filled; afterwards it would not start. */
function makeRuntime(): string {
  const node = join(WORK, 'node')
  copyFileSync(process.execPath, node)
  try {
    execFileSync('strip', ['--strip-all', node], { stdio: 'ignore' })
  } catch {
    console.log('strip (binutils) is missing: the executables are a third larger')
  }
  return node
}

async function bundle(name: string): Promise<void> {
  const outfile = join(WORK, `${name}.cjs`)
  await build({
    entryPoints: [join(ROOT, `src/cli/${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    // As CommonJS: an ES module would load every built-in module at its start.
    format: 'cjs',
    target: 'node26',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'external',
    logLevel: 'warning',
    define: { 'import.meta.url': 'importMetaUrl' },
    banner: {
      js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;",
    },
    plugins: [inlineVersion],
  })
}

rmSync(OUT, { recursive: true, force: true })
mkdirSync(WORK, { recursive: true })
const executable = makeRuntime()
for (const name of ['agent', 'gateway']) {
  const output = join(OUT, name)
  const config = join(WORK, `${name}.json`)
  await bundle(name)
  const settings = {
    main: `${name}.cjs`,
    // By its name alone: the path would be kept in the file, and no two places give the same.
    mainFormat: 'commonjs',
    output,
    executable,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    execArgv: FLAGS,
    // NODE_OPTIONS of whoever starts it has no say.
    execArgvExtension: 'none',
  }
  writeFileSync(config, JSON.stringify(settings))
  // V8 takes its code cache only under the flags that it was made with; the seed is not among them, and makes it the same each time.
  execFileSync(process.execPath, ['--random-seed=1', ...FLAGS, '--build-sea', config], {
    stdio: 'ignore',
    cwd: WORK,
  })
  copyFileSync(join(WORK, `${name}.cjs.LEGAL.txt`), join(OUT, `${name}.LICENSES.txt`))
  console.log(`${output}  ${(statSync(output).size / MIB).toFixed(0)} MiB`)
}
rmSync(WORK, { recursive: true, force: true })
