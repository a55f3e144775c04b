import { readFileSync } from 'node:fs'

/** The package's own manifest lies two folders up, both in the sources and in the build. */
const MANIFEST = new URL('../../package.json', import.meta.url)

/** Version of this package, as both daemons name it to each other and to people. */
export const VERSION: string = (JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version: string })
  .version
