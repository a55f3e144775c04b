import { PosternError } from '../../base/errors.ts'

const NODE_MAJOR_MIN = 24
/** Options in NODE_OPTIONS that lower TLS or write its keys. */
const UNSAFE_OPTIONS =
  /--(tls-min-v1\.[01]|tls-max-v1\.[01]|tls-keylog|tls-cipher-list|insecure-http-parser|openssl-legacy-provider|openssl-config|inspect)/

/**
 * Judges the runtime and its environment before anything is read or listened on.
 * @throws RUNTIME_UNSUPPORTED, ENVIRONMENT_UNSAFE with the name of the variable
 */
export function judgeEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  nodeVersion: string,
): void {
  const major = Number(nodeVersion.split('.')[0])
  if (!(major >= NODE_MAJOR_MIN)) {
    throw new PosternError(
      'RUNTIME_UNSUPPORTED',
      `Node.js ${nodeVersion} is too old; ${String(NODE_MAJOR_MIN)} or newer is needed`,
    )
  }
  if (environment.NODE_TLS_REJECT_UNAUTHORIZED === '0')
    throw unsafe('NODE_TLS_REJECT_UNAUTHORIZED=0 turns verification off')
  if ((environment.SSLKEYLOGFILE ?? '') !== '')
    throw unsafe('SSLKEYLOGFILE writes the keys of TLS to a file')
  const option = UNSAFE_OPTIONS.exec((environment.NODE_OPTIONS ?? '').replaceAll('_', '-'))?.[0]
  if (option !== undefined) throw unsafe(`NODE_OPTIONS contains ${option}`)
}

function unsafe(text: string): PosternError {
  return new PosternError('ENVIRONMENT_UNSAFE', `${text}: unset it`)
}
