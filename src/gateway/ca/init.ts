import { existsSync, readdirSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import { Authority, USAGE_CLIENT, USAGE_SERVER } from '../../identity/authority.ts'
import { writeAuthority } from '../../identity/authority-files.ts'
import { Generations } from '../../identity/generations.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import type { KeyKind } from '../../identity/keys.ts'
import { attempt, FOR_ALL, makeFolder, writeState } from '../../identity/state-files.ts'
import { BACKDATE_MS } from '../../identity/schedule.ts'
import { installLeaf, makeGatewayLeaf } from './gateway-leaf.ts'

const DAY_MS = 86_400_000
/** The life of a root, in ms. */
export const ROOT_MS = 10 * 365 * DAY_MS
/** The life of an issuing CA, in ms. */
export const ISSUING_MS = 365 * DAY_MS

/** The names and folders that a new gateway is made with. */
export interface InitRequest {
  readonly folder: string
  readonly trustDomain: string
  readonly region: string
  readonly gateway: string
  /** Names that agents and callers dial; the first is the gateway's own. */
  readonly dnsNames: readonly string[]
  readonly keyKind: KeyKind
  /** How the keys are kept, but for the root's. */
  readonly protection?: KeyProtection
  /** How the key of the root is kept, which leaves this machine. */
  readonly rootProtection?: KeyProtection
  /** Added to the settings, where the daemon needs it to read its keys. */
  readonly passphraseFile?: string | undefined
}

/** The files that gateway init has written. */
export interface InitResult {
  /** `sha256:HEX` of the root's key. */
  readonly pin: string
  readonly configFile: string
  /** To be taken off this machine. */
  readonly rootFolder: string
  readonly rootNotAfter: Date
  readonly issuingNotAfter: Date
}

/**
 * Makes a whole hierarchy in an empty folder: a root by itself, the two issuing CAs, the gateway's
 * certificate, the trust bundle, and settings that `gateway run` takes.
 * @throws STATE_EXISTS, STATE_UNWRITABLE
 */
export async function initGateway(request: InitRequest, nowMs: number): Promise<InitResult> {
  const folder = resolve(request.folder)
  if (existsSync(folder) && attempt(folder, () => readdirSync(folder)).length > 0) {
    const text = `${folder} is not empty; nothing in it was changed`
    throw new PosternError('STATE_EXISTS', text, { path: folder })
  }
  const { trustDomain, dnsNames, keyKind } = request
  const lasting = (ms: number) => ({
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + ms),
  })
  const root = await Authority.createRoot(`${trustDomain} root`, lasting(ROOT_MS), keyKind)
  const issuing = async (name: string, usage: string, names: readonly string[]) =>
    await root.createIssuing(`${trustDomain} ${name}`, lasting(ISSUING_MS), {
      usage: [usage],
      names: { uriHosts: [trustDomain], dnsNames: names },
      keyKind,
    })
  const agents = await issuing('agents and callers', USAGE_CLIENT, [])
  const gateways = await issuing('gateways', USAGE_SERVER, dnsNames)
  const { region, gateway, protection, rootProtection } = request
  makeFolder(folder)
  await writeAuthority(join(folder, 'root'), 'root', root, rootProtection)
  await writeAuthority(join(folder, 'ca'), 'agents', agents, protection)
  await writeAuthority(join(folder, 'ca'), 'gateways', gateways, protection)
  const at = (name: string): string => join(folder, name)
  const leaf = await makeGatewayLeaf(
    { identity: { role: 'gateway', trustDomain, region, gateway }, dnsNames, keyKind },
    gateways,
    nowMs,
  )
  await installLeaf(new Generations(at('identity'), protection), leaf, {
    chain: [gateways.der],
    bundle: { pem: root.certificatePem, version: 0 },
    nowMs,
    protection,
  })
  attempt(at('bundle.pem'), () => {
    symlinkSync('identity/current/bundle.pem', at('bundle.pem'))
  })
  writeState(at('gateway.yaml'), configText(folder, trustDomain, request.passphraseFile), FOR_ALL)
  return {
    pin: root.pin,
    configFile: at('gateway.yaml'),
    rootFolder: at('root'),
    rootNotAfter: root.certificate.notAfter,
    issuingNotAfter: agents.certificate.notAfter,
  }
}

function configText(
  folder: string,
  trustDomain: string,
  passphraseFile: string | undefined,
): string {
  const at = (name: string): string => JSON.stringify(join(folder, name))
  const passphrase =
    passphraseFile === undefined
      ? ''
      : `\n  passphraseFile: ${JSON.stringify(resolve(passphraseFile))}`
  return `# Made by gateway init. Every setting: docs/SETTINGS.md
trustDomain: ${trustDomain}
identity:
  directory: ${at('identity')}${passphrase}
ca:
  directory: ${at('ca')}
records:
  file: ${at('records.db')}
`
}
