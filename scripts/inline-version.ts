import { readFileSync } from 'node:fs'
import type { Plugin } from 'esbuild'

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string }

/** Writes the version into a bundle: its manifest does not lie where the sources look for it. */
export const inlineVersion: Plugin = {
  name: 'version',
  setup: (builder) => {
    builder.onLoad({ filter: /[/\\]base[/\\]version\.[jt]s$/ }, () => ({
      contents: `export const VERSION = ${JSON.stringify(version)}`,
    }))
  },
}
