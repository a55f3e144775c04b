import { createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { judgeIssued } from '../../agent/credential/credential.ts'
import { caCertificates, estIssue } from '../../agent/enrolment/enrolment.ts'
import type { Clock, CancelTimer } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { makeSigningRequest } from '../../identity/csr.ts'
import { readCredential, type Credential, type KeyFilePaths } from '../../identity/key-files.ts'
import { keyKindOf, makeKey, privatePem, publicDer } from '../../identity/keys.ts'
import { pemText } from '../../identity/pem.ts'
import { renewAtMs } from '../../identity/schedule.ts'
import { FOR_ALL, FOR_OWNER, writeState } from '../../identity/state-files.ts'

const LOOK_MS = 60_000

/** The values and collaborators that CallerRenewal is given. */
export interface CallerRenewalOptions {
  readonly files: KeyFilePaths
  /** enroll.renewListen of the gateway. */
  readonly renewUrl: URL
  readonly trustDomain: string
  readonly clock: Clock
  readonly onRenewed: (notAfterMs: number) => void
  readonly onFailed: (error: PosternError) => void
}

/** Renews a caller's certificate in the files that hold it, when half of its life is over. */
export class CallerRenewal {
  readonly #options: CallerRenewalOptions
  #cancelTimer: CancelTimer | undefined

  constructor(options: CallerRenewalOptions) {
    this.#options = options
  }

  start(): void {
    this.#renewIfDue().then(
      () => {
        this.#cancelTimer = this.#options.clock.startTimer(LOOK_MS, () => {
          this.start()
        })
      },
      () => undefined,
    )
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  async #renewIfDue(): Promise<void> {
    const { files, clock, onRenewed, onFailed } = this.#options
    try {
      const credential = readCredential(files, 'caller', clock.wallMs())
      const { notBeforeMs, notAfterMs } = credential
      const [leaf] = certificatesIn(credential.certificatePem)
      const serial = leaf?.serial.toString('hex') ?? ''
      if (clock.wallMs() < renewAtMs({ serial, notBeforeMs, notAfterMs })) return
      onRenewed(await this.#renew(credential))
    } catch (error) {
      onFailed(asPosternError(error))
    }
  }

  /** Resolves to the end of the new certificate. @throws what asking and judging throw; nothing is changed then */
  async #renew({ certificatePem, keyPem, bundlePem }: Credential): Promise<number> {
    const { files, renewUrl, trustDomain, clock } = this.#options
    const key = await makeKey(keyKindOf(createPrivateKey(keyPem)))
    const trust = { bundlePem, trustDomain, certificatePem, keyPem }
    const body = makeSigningRequest(key)
    const certificates = await estIssue(renewUrl, 'simplereenroll', body, trust)
    const issued = judgeIssued(
      certificates.map(({ der }) => der),
      {
        known: await caCertificates(renewUrl, trust),
        roots: certificatesIn(bundlePem),
        publicKey: publicDer(createPublicKey(key)),
        trustDomain,
        role: 'caller',
      },
      clock.wallMs(),
    )
    const chain = issued.path.slice(0, -1).map(({ der }) => pemText('CERTIFICATE', der))
    writeState(nextOf(files.certificateFile), chain.join(''), FOR_ALL)
    writeState(files.keyFile, privatePem(key), FOR_OWNER)
    renameSync(nextOf(files.certificateFile), files.certificateFile)
    return issued.notAfterMs
  }
}

/**
 * A crash between the key and the certificate leaves the certificate beside its place: it is put there where it
 * is that of the key, and removed where it is not.
 */
export function finishRenewal(files: KeyFilePaths, nowMs: number): void {
  const next = nextOf(files.certificateFile)
  if (!existsSync(next)) return
  try {
    readCredential({ ...files, certificateFile: next }, 'caller', nowMs)
    renameSync(next, files.certificateFile)
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    rmSync(next, { force: true })
  }
}

function nextOf(path: string): string {
  return `${path}.next`
}
