import { existsSync } from 'node:fs'
import { PosternError } from '../../base/errors.ts'
import type { SealOptions } from '../../caller/sealed-cluster.ts'
import { CALLER_SETTINGS, type CallerSettings } from '../../config/gateway-settings.ts'
import { readPin } from '../../config/seal-row.ts'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import type { CallOptions } from '../../rpc/channel.ts'
import { readAuthorities } from '../../seal/trust.ts'
import { makeSealingKey, readSealingKey } from '../../seal/sealing-key.ts'
import { command, group, JSON_OPTION, settingsOf, type Surroundings } from '../program/program.ts'

/** Options of the commands that may seal what they send. */
export const SEAL_OPTIONS = {
  sealed: {
    type: 'boolean',
    default: false,
    describe:
      'Seal it: TLS between this caller and the agent, inside the tunnel, so that no gateway can read or alter it. Needs seal.keyFile, and seal.clusters or --pin. Nothing is sent unsealed where that fails.',
  },
  pin: {
    type: 'strings',
    describe:
      "With --sealed: pin of the cluster's agent, sha256:HEX, as agent seal show prints it, in place of seal.clusters.",
  },
} as const

/** Option of the commands that may act for a user. */
export const USER_OPTION = {
  'user-token-file': {
    type: 'string',
    describe:
      'File with the token of the user that this is done for (OIDC JWT), readable by its owner alone, where the policy of the agent asks for one. Goes with --sealed, as the gateway would read it otherwise.',
  },
} as const

/** Reads the token of `--user-token-file`. @throws USAGE, FILE_UNREADABLE, KEY_EXPOSED */
export function userTokenOf({
  sealed,
  'user-token-file': path,
}: {
  readonly sealed: boolean
  readonly 'user-token-file'?: string | undefined
}): Pick<CallOptions, 'userToken'> {
  if (path === undefined) return {}
  if (!sealed)
    throw new PosternError('USAGE', '--user-token-file goes with --sealed: a gateway would read it')
  return { userToken: readSecretFile(path).trim() }
}

/** How the calls of a command are sealed; undefined: they are not. @throws USAGE, CONFIG_INVALID, and what reading the files throws */
export function sealOf(
  {
    cluster,
    sealed,
    pin,
  }: { readonly cluster: string; readonly sealed: boolean; readonly pin: readonly string[] },
  settings: CallerSettings,
): SealOptions | undefined {
  if (!sealed) {
    if (pin.length > 0) throw new PosternError('USAGE', '--pin goes with --sealed')
    return undefined
  }
  const keyFile = settings['seal.keyFile']
  if (keyFile === undefined) {
    const text = 'a sealed call needs a key: name it in seal.keyFile (gateway seal new makes one)'
    throw new PosternError('CONFIG_INVALID', text)
  }
  const key = { keyFile, certificateFile: settings['seal.certificateFile'] }
  // What is wrong with a file is told before anything is dialled.
  readSealingKey(key)
  if (pin.length > 0) return { ...key, pins: pin.map(pinOf) }
  const row = settings['seal.clusters'].find((one) => one.cluster === cluster)
  if (row?.caFile !== undefined) readAuthorities(readPublicFile(row.caFile), row.caFile)
  if (row !== undefined) return { ...key, pins: row.pins, caFile: row.caFile }
  const text = `a sealed call to ${cluster} needs the pin of its agent: --pin sha256:HEX, as agent seal show prints it, or a row of seal.clusters`
  throw new PosternError('CONFIG_INVALID', text)
}

function pinOf(text: string): string {
  try {
    return readPin(text)
  } catch (error) {
    throw new PosternError('USAGE', `--pin ${JSON.stringify(text)}: ${(error as Error).message}`)
  }
}

const sealNew = command({
  path: 'new',
  describe:
    'Make a key for sealed calls, and print its pin, which the customer puts into seal.callers of the agents.',
  options: {
    out: { type: 'string', required: true, describe: 'File for the key; it must not exist.' },
    ...JSON_OPTION,
  },
  examples: [['$0 seal new --out console-seal.key', 'a key for the caller console']],
  run: ({ out, json }, surroundings) => {
    if (existsSync(out)) throw new PosternError('USAGE', `${out} exists: name another file`)
    makeSealingKey(out)
    show(out, json, surroundings)
    return 0
  },
})

const KEY_ROW = { 'seal.keyFile': CALLER_SETTINGS['seal.keyFile'] }

const sealShow = command({
  path: 'show',
  describe: 'Print the pin of the key for sealed calls.',
  options: {
    'seal-key-file': { type: 'string', describe: 'The key. (POSTERN_SEAL_KEY_FILE)' },
    config: { type: 'string', describe: 'File with the settings of calls. (POSTERN_CONFIG)' },
    ...JSON_OPTION,
  },
  run: (args, surroundings) => {
    const { environment } = surroundings
    const config = args.config ?? environment.POSTERN_CONFIG
    const table = config === undefined ? KEY_ROW : CALLER_SETTINGS
    const { values } = settingsOf(table, { ...args, config }, environment)
    const keyFile = values['seal.keyFile']
    if (keyFile === undefined)
      throw new PosternError('CONFIG_INVALID', 'name the key in seal.keyFile')
    show(keyFile, args.json, surroundings)
    return 0
  },
})

/** `gateway seal`: the key that a caller seals with. */
export const gatewaySeal = group({
  path: 'seal',
  describe: 'Make and show the key that sealed calls are made with.',
  commands: [sealNew, sealShow],
})

function show(keyFile: string, json: boolean, { output }: Surroundings): void {
  const { pin } = readSealingKey({ keyFile, certificateFile: undefined })
  if (json) output.result(JSON.stringify({ pin, keyFile }))
  else {
    output.result(`${pin}  ${keyFile}`)
    output.note(`for the customer's agents: seal.callers: [{ caller: NAME, pin: "${pin}" }]`)
  }
}
