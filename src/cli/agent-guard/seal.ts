import { existsSync } from 'node:fs'
import { sealingKeyFile } from '../../agent/seal/seal.ts'
import { PosternError } from '../../base/errors.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { readSealingKey } from '../../seal/sealing-key.ts'
import { PLACE_OPTIONS } from '../place/place.ts'
import { command, group, JSON_OPTION, settingsOf } from '../program/program.ts'

const ROWS = {
  'state.directory': AGENT_SETTINGS['state.directory'],
  'seal.keyFile': AGENT_SETTINGS['seal.keyFile'],
  'seal.certificateFile': AGENT_SETTINGS['seal.certificateFile'],
}

const sealShow = command({
  path: 'show',
  describe:
    'Print the pin of the key that this agent seals with: callers put it into seal.clusters, and then no gateway can pass itself off as this agent.',
  options: { ...PLACE_OPTIONS, ...JSON_OPTION },
  examples: [['$0 seal show', 'the pin, for the callers of this cluster']],
  run: (args, { environment, output }) => {
    const config = args.config ?? environment.POSTERN_CONFIG
    const table = config === undefined ? ROWS : AGENT_SETTINGS
    const { values } = settingsOf(table, { ...args, config }, environment)
    const keyFile = sealingKeyFile(values)
    if (values['seal.keyFile'] === undefined && !existsSync(keyFile)) {
      const text = `${keyFile}: there is no sealing key yet; agent run makes it when it first starts`
      throw new PosternError('FILE_UNREADABLE', text, { path: keyFile })
    }
    const certificateFile = values['seal.certificateFile']
    const { pin, notAfterMs } = readSealingKey({ keyFile, certificateFile })
    const until = certificateFile === undefined ? null : new Date(notAfterMs).toISOString()
    if (args.json) output.result(JSON.stringify({ pin, keyFile, certifiedUntil: until }))
    else {
      output.result(`${pin}  ${keyFile}`)
      if (until !== null) output.result(`certified until ${until} by ${String(certificateFile)}`)
    }
    return 0
  },
})

/** `agent seal`: the key of sealed calls. */
export const agentSeal = group({
  path: 'seal',
  describe: 'Show the key that sealed calls come to.',
  commands: [sealShow],
})
