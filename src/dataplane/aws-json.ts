import { Hash } from '@smithy/hash-node'
import { HttpRequest } from '@smithy/protocol-http'
import { SignatureV4 } from '@smithy/signature-v4'
import type { AwsCredentialIdentity } from '@smithy/types'
import type { Clock } from '../base/clock.ts'
import { readPublicFile } from '../identity/key-files.ts'
import { askBackend, type BackendAnswer } from '../transport/ask-backend.ts'
import { within } from '../transport/within.ts'

/** Credentials may be asked of somebody first. */
const SIGN_MS_MAX = 20_000

/** One of AWS' services that speak JSON (smithy.io, "AWS JSON 1.1 protocol"), and where it is. */
export interface AwsService {
  /** As it is signed for, such as secretsmanager. */
  readonly service: string
  /** Before the name of each operation, such as secretsmanager. */
  readonly target: string
  readonly region: string
  readonly endpoint: URL
  readonly caFile: string | undefined
  /** Longest answer, in bytes. */
  readonly bytesMax: number
}

/** Asks one of AWS' services by requests of our own, signed by the credentials of the customer. */
export class AwsJson {
  readonly #service: AwsService
  readonly #clock: Pick<Clock, 'wallMs'>
  readonly #signer: SignatureV4

  constructor(
    service: AwsService,
    clock: Pick<Clock, 'wallMs'>,
    credentials: () => Promise<AwsCredentialIdentity>,
  ) {
    this.#service = service
    this.#clock = clock
    const sha256 = Hash.bind(null, 'sha256')
    const { service: name, region } = service
    this.#signer = new SignatureV4({ service: name, region, credentials, sha256 })
  }

  /** @throws BACKEND_UNREACHABLE, BACKEND_REFUSED, CREDENTIALS_MISSING, FILE_UNREADABLE */
  async ask(operation: string, body: Buffer, signal: AbortSignal): Promise<BackendAnswer> {
    const { endpoint, caFile, target, bytesMax } = this.#service
    const { hostname, port, protocol, host } = endpoint
    const request = new HttpRequest({
      ...{ method: 'POST', protocol, hostname, path: '/', body },
      ...(port === '' ? {} : { port: Number(port) }),
      headers: {
        host,
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': `${target}.${operation}`,
      },
    })
    const signingDate = new Date(this.#clock.wallMs())
    const { headers } = await Promise.race([
      this.#signer.sign(request, { signingDate }),
      within(SIGN_MS_MAX, signal),
    ])
    const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
    return await askBackend({
      method: 'POST',
      url: endpoint,
      headers,
      body,
      caPem,
      signal,
      bytesMax,
    })
  }
}
