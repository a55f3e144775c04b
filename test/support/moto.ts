import { spawn, type ChildProcess } from 'node:child_process'
import { freePort } from '../../scripts/free-port.ts'
import { eventually } from './eventually.ts'

/** What a file of shared credentials holds for it. */
export const MOTO_CREDENTIALS =
  '[default]\naws_access_key_id=AKIDTEST\naws_secret_access_key=secret-of-tests\n'

/** A real moto server: AWS' services as that project has them. */
export class Moto {
  readonly url: string
  readonly #process: ChildProcess

  private constructor(port: number) {
    this.url = `http://127.0.0.1:${String(port)}`
    this.#process = spawn('moto_server', ['-p', String(port)], { stdio: 'ignore' })
  }

  static async start(): Promise<Moto> {
    const moto = new Moto(await freePort())
    const isUp = (): Promise<boolean> =>
      fetch(moto.url).then(
        () => true,
        () => false,
      )
    await eventually(isUp, 'moto is up')
    return moto
  }

  /** Asks one of its services. `target`: such as secretsmanager.GetSecretValue. */
  async ask(service: string, target: string, body: object): Promise<Record<string, unknown>> {
    const answer = await fetch(this.url, {
      method: 'POST',
      headers: {
        'x-amz-target': target,
        'content-type': 'application/x-amz-json-1.1',
        authorization: `AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/eu-west-1/${service}/aws4_request, SignedHeaders=host, Signature=0`,
      },
      body: JSON.stringify(body),
    })
    // Some operations answer with nothing.
    return JSON.parse((await answer.text()) || '{}') as Record<string, unknown>
  }

  stop(): void {
    this.#process.kill('SIGKILL')
  }
}
