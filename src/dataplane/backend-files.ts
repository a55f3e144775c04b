import { readPublicFile, readSecretFile } from '../identity/key-files.ts'

/** The files by which the agent and what lies behind it know each other. */
export interface BackendFiles {
  /** Roots of the server. Default: those of the system. */
  readonly caFile: string | undefined
  readonly certificateFile: string | undefined
  readonly keyFile: string | undefined
  /** File with a bearer token. */
  readonly tokenFile: string | undefined
}

/** What these files hold. */
export interface BackendSecrets {
  readonly caPem: string | undefined
  readonly certificatePem: string | undefined
  readonly keyPem: string | undefined
  readonly token: string | undefined
}

/** Reads them, for each call: tokens of Kubernetes change every hour. @throws FILE_UNREADABLE, KEY_EXPOSED */
export function readBackendFiles(files: BackendFiles): BackendSecrets {
  const { caFile, certificateFile, keyFile, tokenFile } = files
  const read = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : readPublicFile(path)
  return {
    caPem: read(caFile),
    certificatePem: read(certificateFile),
    keyPem: keyFile === undefined ? undefined : readSecretFile(keyFile),
    token: tokenFile === undefined ? undefined : readSecretFile(tokenFile).trim(),
  }
}
