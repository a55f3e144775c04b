import { PosternError } from '../../base/errors.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { readCredential, readSecretFile } from '../../identity/key-files.ts'
import { identityUri } from '../../identity/name.ts'
import { FOR_OWNER, writeState } from '../../identity/state-files.ts'
import { locate, PLACE_OPTIONS } from '../place/place.ts'
import { command } from '../program/program.ts'

const PASSPHRASE_CHARS_MIN = 6

/** `agent certs export`: key and chain for programs that want PKCS#12. */
export const certsExport = command({
  path: 'export',
  describe:
    'Write key, chain and roots to a PKCS#12 file, for its owner alone. It is not renewed there.',
  options: {
    ...PLACE_OPTIONS,
    p12: {
      type: 'string',
      required: true,
      describe: 'File to write; one that is there is replaced.',
    },
    'passphrase-file': {
      type: 'string',
      required: true,
      describe: 'File with the passphrase of the PKCS#12 file in its first line.',
    },
  },
  run: async (args, surroundings) => {
    const { clock } = surroundings.ambient('error', 'certs')
    const [passphrase = ''] = readSecretFile(args['passphrase-file']).split(/\r?\n/)
    if (passphrase.length < PASSPHRASE_CHARS_MIN) {
      const text = `${args['passphrase-file']}: a passphrase has at least ${String(PASSPHRASE_CHARS_MIN)} characters (keytool takes no less)`
      throw new PosternError('USAGE', text)
    }
    const { files, protection } = locate(args, surroundings)
    const options = { protection: protection(), mayBeExpired: true }
    const credential = readCredential(files, 'agent', clock.wallMs(), options)
    const chain = [credential.certificatePem, credential.bundlePem].flatMap(certificatesIn)
    const { exportPkcs12 } = await import('../../identity/pkcs12.ts')
    const content = {
      keyPem: credential.keyPem,
      chain: chain.map(({ der }) => der),
      friendlyName: identityUri(credential.identity),
    }
    writeState(args.p12, await exportPkcs12(content, passphrase), FOR_OWNER)
    surroundings.output.result(
      `${identityUri(credential.identity)}\nwritten to ${args.p12} (key, ${String(chain.length)} certificates)`,
    )
    return 0
  },
})
