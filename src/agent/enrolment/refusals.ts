import { PosternError, type ErrorCode } from '../../base/errors.ts'
import { RpcError } from '../../rpc/status.ts'

/** What a gateway may answer to who asks for a certificate, and what asking again will not change. */
const REFUSALS: readonly ErrorCode[] = [
  'RENEWAL_REFUSED',
  'CSR_INVALID',
  'IDENTITY_REVOKED',
  'CLUSTER_LOCKED',
  'CERT_SUPERSEDED',
  'CERT_EXPIRED',
]

/** A gateway's text "CODE: why" with its code, where that is one that we know here. */
export function refusalOf(text: string): PosternError | undefined {
  const [, told = '', why = ''] = /^([A-Z_]+): (.*)$/s.exec(text.trim()) ?? []
  const code = REFUSALS.find((one) => one === told)
  return code === undefined ? undefined : new PosternError(code, `the gateway: ${why}`)
}

/** The answer of a failed call to the gateway. */
export function errorOfCall(error: unknown): PosternError {
  if (error instanceof PosternError) return error
  if (!(error instanceof RpcError))
    return new PosternError('ENROL_FAILED', String(error), {}, { cause: error })
  const refusal = refusalOf(error.rawMessage)
  return refusal ?? new PosternError(error.code ?? 'ENROL_FAILED', error.rawMessage)
}
