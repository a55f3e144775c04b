import { createPrivateKey, X509Certificate } from 'node:crypto'
import { PosternError } from '../../base/errors.ts'
import { fileMarks } from '../../base/file-marks.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { readPublicFile, readSecretFile, type Credential } from '../../identity/key-files.ts'
import type { TlsIdentity } from '../../transport/tls-options.ts'

/** What tells one state of the files of the API's certificate from another. @throws what looking at them throws */
export function certificateMarks(settings: GatewaySettings): string {
  const files = [settings['api.certificateFile'], settings['api.keyFile']]
  return files.map((file) => (file === undefined ? '' : fileMarks(file))).join(' ')
}

/**
 * Reads the certificate that the API shows: that of the settings, which any CA may have issued; else the gateway's own. Clients are
 * judged by the roots of the gateway in any case. @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE
 */
export function serverCertificate(settings: GatewaySettings, own: Credential): TlsIdentity {
  const { 'api.certificateFile': certificateFile, 'api.keyFile': keyFile } = settings
  if (certificateFile === undefined || keyFile === undefined) return own
  const certificatePem = readPublicFile(certificateFile)
  const keyPem = readSecretFile(keyFile)
  let isPair: boolean
  try {
    isPair = new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem))
  } catch (error) {
    const text = `${certificateFile} or ${keyFile} cannot be read as PEM`
    throw new PosternError('CERTIFICATE_UNUSABLE', text, {}, { cause: error })
  }
  if (!isPair)
    throw new PosternError('KEY_MISMATCH', `${keyFile} does not belong to ${certificateFile}`)
  const shown = { certificatePem, bundlePem: own.bundlePem }
  // Not enumerable, so that no log or JSON takes it along.
  return Object.defineProperty(shown, 'keyPem', { value: keyPem }) as TlsIdentity
}

/** Judges the settings of the API by themselves. @throws CONFIG_INVALID */
export function judgeApiSettings(settings: GatewaySettings): void {
  const one = (key: string, needs: string): PosternError =>
    new PosternError('CONFIG_INVALID', `${key} needs ${needs}`)
  const { 'api.certificateFile': certificateFile, 'api.keyFile': keyFile } = settings
  if (certificateFile !== undefined && keyFile === undefined)
    throw one('api.certificateFile', 'api.keyFile')
  if (keyFile !== undefined && certificateFile === undefined)
    throw one('api.keyFile', 'api.certificateFile')
  if (settings['api.tokenListen'] === undefined) return
  if (settings['api.issuers'].length === 0) throw one('api.tokenListen', 'api.issuers')
  if (settings['records.file'] === undefined)
    throw one('api.tokenListen', 'records.file: callers with tokens may use what roles allow')
}
