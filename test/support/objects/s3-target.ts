import { Hash } from '@smithy/hash-node'
import { HttpRequest } from '@smithy/protocol-http'
import { SignatureV4 } from '@smithy/signature-v4'
import { defaultProvider } from '@aws-sdk/credential-provider-node'
import { readFileSync, writeFileSync } from 'node:fs'
import { request as requestPlain } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { GATEWAY, type TestPki } from '../pki.ts'
import { S3Server } from './object-server.ts'
import { send } from './send.ts'

/** A server of S3 that the suite runs against, and how the agent finds it. */
export interface S3Target {
  readonly row: Readonly<Record<string, unknown>>
  readonly caFile: string
  stop(): void
}

/**
 * The server that POSTERN_S3_URL names, with the credentials of the environment (as the AWS SDK finds them), POSTERN_S3_REGION
 * (us-east-1) and POSTERN_S3_BUCKET (postern-test, made where it is not there); without it a stand-in that verifies signatures.
 * What speaks plain HTTP is given TLS in front of it, as URLs are of https alone.
 */
export async function s3Target(pki: TestPki): Promise<S3Target> {
  const { POSTERN_S3_URL: url } = process.env
  return url === undefined ? await standIn(pki) : await real(new URL(url), pki)
}

async function standIn(pki: TestPki): Promise<S3Target> {
  const server = new S3Server(await pki.issue(GATEWAY))
  const credentialsFile = join(pki.folder, 'aws')
  const secret = 'aws_access_key_id=AKIDTEST\naws_secret_access_key=secret-of-tests\n'
  writeFileSync(credentialsFile, `[default]\n${secret}`, { mode: 0o600 })
  const row = { type: 's3', region: 'eu-west-1', endpoint: await server.start(), credentialsFile }
  return {
    row,
    caFile: pki.bundleFile,
    stop: () => {
      server.stop()
    },
  }
}

async function real(url: URL, pki: TestPki): Promise<S3Target> {
  const { POSTERN_S3_REGION: region = 'us-east-1', POSTERN_S3_BUCKET: bucket = 'postern-test' } =
    process.env
  const isPlain = url.protocol === 'http:'
  const front = isPlain ? await tlsFront(url, pki) : undefined
  const endpoint = front?.endpoint ?? url.origin
  const caFile = isPlain ? pki.bundleFile : '/etc/ssl/certs/ca-certificates.crt'
  await makeBucket(new URL(endpoint), bucket, region, caFile)
  const row = { type: 's3', region, endpoint, bucket }
  return { row, caFile, stop: () => front?.stop() }
}

async function makeBucket(url: URL, bucket: string, region: string, caFile: string): Promise<void> {
  const sha256 = Hash.bind(null, 'sha256')
  const signer = new SignatureV4({
    service: 's3',
    region,
    credentials: defaultProvider(),
    sha256,
    uriEscapePath: false,
  })
  const { hostname, port, host } = url
  const request = new HttpRequest({
    method: 'PUT',
    protocol: 'https:',
    hostname,
    path: `/${bucket}`,
    headers: { host },
  })
  request.headers['x-amz-content-sha256'] =
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  const { headers } = await signer.sign(request)
  const answer = await send(
    { url: `https://${hostname}:${port}/${bucket}`, method: 'PUT', headers },
    caFile,
  )
  if (![200, 409].includes(answer.status))
    throw new Error(`the bucket cannot be made: ${String(answer.status)} ${answer.body.toString()}`)
}

async function tlsFront(url: URL, pki: TestPki): Promise<{ endpoint: string; stop: () => void }> {
  const { certificateFile, keyFile } = await pki.issue(GATEWAY)
  const front = createServer(
    { cert: readFileSync(certificateFile), key: readFileSync(keyFile) },
    (socket) => {
      const behind = connect(Number(url.port === '' ? 80 : url.port), url.hostname)
      const end = (): void => {
        socket.destroy()
        behind.destroy()
      }
      for (const one of [socket, behind]) one.on('error', end)
      socket.pipe(behind).pipe(socket)
    },
  ).listen(0, '127.0.0.1')
  await once(front, 'listening')
  await once(requestPlain(url).end(), 'response')
  const { port } = front.address() as AddressInfo
  return { endpoint: `https://localhost:${String(port)}`, stop: () => front.close() }
}
