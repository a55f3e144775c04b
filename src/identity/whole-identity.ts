import { PosternError } from '../base/errors.ts'
import type { Credential, KeyFilePaths } from './key-files.ts'
import { readCertificate, type CertificateFacts, validatePath } from './validation/validation.ts'

const BLOCK =
  /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*?)-----END CERTIFICATE-----|-----BEGIN CERTIFICATE-----/g

/**
 * Judges an identity as a whole, before any of it is used: every certificate of the chain and of the bundle can be
 * decoded, and the chain leads to a root of the bundle. @throws CERTIFICATE_UNUSABLE with the file, and which of its
 * certificates
 */
export function judgeWhole(
  { certificatePem, bundlePem, notBeforeMs, notAfterMs }: Credential,
  role: 'client' | 'server',
  { certificateFile, bundleFile }: Pick<KeyFilePaths, 'certificateFile' | 'bundleFile'>,
  nowMs: number,
): void {
  const roots = certificatesOf(bundlePem, bundleFile)
  const [leaf, ...intermediates] = certificatesOf(certificatePem, certificateFile)
  if (leaf === undefined) throw unusable(certificateFile, 'it holds no certificate')
  const { isValid, reachesRoot, faults } = validatePath({
    leaf,
    intermediates,
    roots,
    // Its time is judged apart: this is about the chain.
    timeMs: Math.min(Math.max(nowMs, notBeforeMs), notAfterMs),
    role,
  })
  if (isValid) return
  if (!reachesRoot)
    throw unusable(
      certificateFile,
      `its chain leads to no root of ${bundleFile}: an intermediate is missing, or the root`,
    )
  throw unusable(
    certificateFile,
    faults.map(({ place, text }) => `the ${place} ${text}`).join('; '),
  )
}

/** Decodes every certificate of a PEM text. @throws CERTIFICATE_UNUSABLE */
export function certificatesOf(pem: string, path: string): CertificateFacts[] {
  return [...pem.matchAll(BLOCK)].map(([, body], index) => {
    const which = `certificate ${String(index + 1)}`
    if (body === undefined) throw unusable(path, `${which} is cut off or malformed`)
    try {
      return readCertificate(Buffer.from(body.replace(/\s+/g, ''), 'base64'))
    } catch (error) {
      throw unusable(path, `${which} cannot be decoded: ${(error as Error).message}`)
    }
  })
}

function unusable(path: string, text: string): PosternError {
  return new PosternError('CERTIFICATE_UNUSABLE', `${path}: ${text}`, { path })
}
