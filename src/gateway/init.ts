import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { Authority, USAGE_CLIENT, USAGE_SERVER } from '../identity/authority.ts'
import { writeAuthority } from '../identity/authority-files.ts'
import type { KeyKind } from '../identity/keys.ts'
import { spkiPin } from '../identity/keys.ts'
import { identityUri } from '../identity/name.ts'
import { FOR_ALL, FOR_OWNER, makeFolder, writeState } from '../identity/state-files.ts'

const DAY_MS = 86_400_000
const ROOT_MS = 10 * 365 * DAY_MS
const ISSUING_MS = 365 * DAY_MS
/** Long enough to set up, short enough to be renewed in good time. */
const GATEWAY_MS = 90 * DAY_MS
/** For clocks that are behind ours. */
export const BACKDATE_MS = 5 * 60_000

export interface InitRequest {
  readonly folder: string
  readonly trustDomain: string
  readonly region: string
  readonly gateway: string
  /** Names that agents and callers dial; the first is the gateway's own. */
  readonly dnsNames: readonly string[]
  readonly keyKind: KeyKind
}

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
  if (existsSync(folder) && readdirSync(folder).length > 0) {
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
  const { region, gateway } = request
  const leaf = await gateways.issueLeaf({
    commonName: `gateway ${gateway} in ${region}`,
    uris: [identityUri({ role: 'gateway', trustDomain, region, gateway })],
    dnsNames,
    usage: [USAGE_SERVER],
    keyKind,
    ...lasting(GATEWAY_MS),
  })
  makeFolder(folder)
  writeAuthority(join(folder, 'root'), 'root', root)
  writeAuthority(join(folder, 'ca'), 'agents', agents)
  writeAuthority(join(folder, 'ca'), 'gateways', gateways)
  const at = (name: string): string => join(folder, name)
  writeState(at('gateway.key'), leaf.keyPem, FOR_OWNER)
  writeState(at('gateway.pem'), leaf.certificatePem + gateways.certificatePem, FOR_ALL)
  writeState(at('bundle.pem'), root.certificatePem, FOR_ALL)
  writeState(at('gateway.yaml'), configText(folder, trustDomain), FOR_ALL)
  return {
    pin: spkiPin(new Uint8Array(root.certificate.publicKey.rawData)),
    configFile: at('gateway.yaml'),
    rootFolder: at('root'),
    rootNotAfter: root.certificate.notAfter,
    issuingNotAfter: agents.certificate.notAfter,
  }
}

function configText(folder: string, trustDomain: string): string {
  const at = (name: string): string => JSON.stringify(join(folder, name))
  return `# Made by gateway init. Every setting: docs/SETTINGS.md
trustDomain: ${trustDomain}
identity:
  certificateFile: ${at('gateway.pem')}
  keyFile: ${at('gateway.key')}
  bundleFile: ${at('bundle.pem')}
ca:
  directory: ${at('ca')}
records:
  file: ${at('records.db')}
`
}
