import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import { readCertificateFile } from '../../identity/certificate-files.ts'
import { judgeCredential, readSecretFile } from '../../identity/key-files.ts'
import { privatePem, publicDer } from '../../identity/keys.ts'
import { identityUri } from '../../identity/name.ts'
import { certificatePem } from '../../identity/pem.ts'
import { FOR_ALL, FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'
import {
  isSelfIssued,
  readCertificate,
  type CertificateFacts,
} from '../../identity/validation/validation.ts'
import { judgeWhole } from '../../identity/whole-identity.ts'
import { command } from '../program/program.ts'
import { createPublicKey } from 'node:crypto'

const FILE_BYTES_MAX = 1024 * 1024

/** `agent certs import`: takes an identity that somebody else's PKI hands out as PKCS#12. */
export const certsImport = command({
  path: 'import',
  describe:
    'Take key, chain and roots out of a PKCS#12 file into files that the settings can name, judged as the handshake will judge them. Old encryption (RC2, 3DES) is read too.',
  options: {
    p12: { type: 'string', required: true, describe: 'File to read.' },
    'passphrase-file': {
      type: 'string',
      required: true,
      describe: 'File with its passphrase in its first line.',
    },
    dir: {
      type: 'string',
      required: true,
      describe: 'Folder for agent.pem, agent.key and bundle.pem.',
    },
    roots: {
      type: 'string',
      describe: 'Roots to trust, in PEM. Default: those that the PKCS#12 file holds.',
    },
  },
  run: async (args, surroundings) => {
    const { clock } = surroundings.ambient('error', 'certs')
    const [passphrase = ''] = readSecretFile(args['passphrase-file']).split(/\r?\n/)
    // Read by this command alone: it is large, and its record is long.
    const { readPkcs12 } = await import('../../identity/pkcs12-import.ts')
    const { key, certificates } = readPkcs12(bytesOf(args.p12), passphrase)
    const parts = partsOf(certificates, publicDer(createPublicKey(key)), args.p12)
    const roots = args.roots === undefined ? parts.roots : rootsIn(args.roots)
    const at = (name: string): string => join(args.dir, name)
    const files = {
      certificateFile: at('agent.pem'),
      keyFile: at('agent.key'),
      bundleFile: at('bundle.pem'),
    }
    const text = { certificatePem: pemOf(parts.chain), bundlePem: pemOf(roots) }
    const named = { ...files, certificateFile: args.p12, bundleFile: args.roots ?? args.p12 }
    // Before a byte of it is written.
    const credential = judgeCredential({ ...text, key }, 'agent', named)
    judgeWhole(credential, 'client', named, clock.wallMs())
    makeFolder(args.dir)
    writeState(files.keyFile, privatePem(key), FOR_OWNER)
    writeState(files.certificateFile, text.certificatePem, FOR_ALL)
    writeState(files.bundleFile, text.bundlePem, FOR_ALL)
    surroundings.output.result(
      [
        `${identityUri(credential.identity)}, until ${new Date(credential.notAfterMs).toISOString()}`,
        '# For the settings of the agent, which watches these files:',
        'identity:',
        ...Object.entries(files).map(([name, path]) => `  ${name}: ${JSON.stringify(path)}`),
      ].join('\n'),
    )
    return 0
  },
})

/** @throws FILE_UNREADABLE */
function bytesOf(path: string): Buffer {
  try {
    if (statSync(path).size <= FILE_BYTES_MAX) return readFileSync(path)
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
  throw new PosternError('FILE_UNREADABLE', `${path}: it is larger than 1 MiB`, { path })
}

interface Parts {
  /** Leaf first. */
  readonly chain: readonly CertificateFacts[]
  readonly roots: readonly CertificateFacts[]
}

/** @throws PKCS12_UNREADABLE */
function partsOf(certificates: readonly Buffer[], publicKey: Buffer, path: string): Parts {
  const all = certificates.map((der, index) => {
    try {
      return readCertificate(der)
    } catch (error) {
      const text = `${path}: certificate ${String(index + 1)} cannot be decoded: ${(error as Error).message}`
      throw new PosternError('PKCS12_UNREADABLE', text, {}, { cause: error })
    }
  })
  const leaf = all.find((facts) => facts.publicKey.equals(publicKey))
  if (leaf === undefined)
    throw new PosternError('PKCS12_UNREADABLE', `${path}: no certificate in it is for its key`)
  const roots = all.filter((facts) => facts !== leaf && isSelfIssued(facts))
  return {
    chain: [leaf, ...all.filter((facts) => facts !== leaf && !roots.includes(facts))],
    roots,
  }
}

function rootsIn(path: string): readonly CertificateFacts[] {
  const { certificates, broken } = readCertificateFile(path)
  if (certificates.length > 0 && broken.length === 0) return certificates
  throw new PosternError('CERTIFICATE_UNUSABLE', broken[0] ?? `${path}: it holds no certificate`)
}

function pemOf(certificates: readonly CertificateFacts[]): string {
  return certificates.map(({ der }) => certificatePem(der)).join('')
}
