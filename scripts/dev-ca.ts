/**
 * Makes a throw-away certificate authority and leaves under certs-dev/, for development and tests on
 * one machine. The keys lie unprotected beside the certificates: never use them for anything real.
 */
import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  Authority,
  USAGE_CLIENT,
  USAGE_SERVER,
  type LeafRequest,
} from '../src/identity/authority.ts'
import { identityUri, type Identity } from '../src/identity/name.ts'

export const DEV_TRUST_DOMAIN = 'dev.postern.test'
const HOUR_MS = 3_600_000
const LEAF_MS = 24 * HOUR_MS
const CA_MS = 7 * 24 * HOUR_MS
const BACKDATE_MS = 5 * 60_000
/** Leaves with less left than this are made again. */
const FRESH_MS = 2 * HOUR_MS

const LEAVES: readonly { readonly name: string; readonly identity: Identity }[] = [
  {
    name: 'gateway',
    identity: { role: 'gateway', trustDomain: DEV_TRUST_DOMAIN, region: 'local', gateway: 'gw-1' },
  },
  {
    name: 'agent',
    identity: { role: 'agent', trustDomain: DEV_TRUST_DOMAIN, cluster: 'dev', agent: 'agent-1' },
  },
  {
    name: 'caller',
    identity: { role: 'caller', trustDomain: DEV_TRUST_DOMAIN, caller: 'console' },
  },
]

/** Makes what is missing or about to expire; returns whether it made anything. */
export async function makeDevelopmentCa(folder: string): Promise<boolean> {
  if (LEAVES.every(({ name }) => isFresh(join(folder, `${name}.pem`)))) return false
  const now = Date.now()
  const notBefore = new Date(now - BACKDATE_MS)
  const caValidity = { notBefore, notAfter: new Date(now + CA_MS) }
  const root = await Authority.createRoot('Postern development root', caValidity)
  const issuing = await root.createIssuing('Postern development issuing CA', caValidity)
  mkdirSync(folder, { recursive: true })
  for (const { name, identity } of LEAVES) {
    const leaf = await issuing.issueLeaf(
      request(identity, { notBefore, notAfter: new Date(now + LEAF_MS) }),
    )
    write(join(folder, `${name}.key`), leaf.keyPem, 0o600)
    write(join(folder, `${name}.pem`), leaf.certificatePem + issuing.certificatePem, 0o644)
  }
  write(join(folder, 'bundle.pem'), root.certificatePem, 0o644)
  return true
}

function request(
  identity: Identity,
  validity: Pick<LeafRequest, 'notBefore' | 'notAfter'>,
): LeafRequest {
  const isGateway = identity.role === 'gateway'
  return {
    commonName: `development ${identity.role}`,
    uris: [identityUri(identity)],
    dnsNames: isGateway ? ['localhost'] : [],
    usage: isGateway ? [USAGE_SERVER, USAGE_CLIENT] : [USAGE_CLIENT],
    ...validity,
  }
}

function isFresh(path: string): boolean {
  if (!existsSync(path)) return false
  return Date.parse(new X509Certificate(readFileSync(path)).validTo) - Date.now() > FRESH_MS
}

/** Another process may be reading: the name changes to the new file at once. */
function write(path: string, content: string, mode: number): void {
  const temporary = `${path}.${String(process.pid)}`
  rmSync(temporary, { force: true })
  writeFileSync(temporary, content, { mode })
  renameSync(temporary, path)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2] ?? fileURLToPath(new URL('../certs-dev', import.meta.url))
  const made = await makeDevelopmentCa(folder)
  console.log(
    made ? `made a development CA in ${folder}` : `the development CA in ${folder} is still fresh`,
  )
}
