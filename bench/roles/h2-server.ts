import { readFileSync } from 'node:fs'
import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'

/** The reference: an echo of gRPC on bare node:http2, which looks at nothing. */
async function listen({ files }: { files: KeyFilePaths }): Promise<number> {
  const server = createSecureServer({
    ca: readFileSync(files.bundleFile),
    cert: readFileSync(files.certificateFile),
    key: readFileSync(files.keyFile),
    requestCert: true,
  })
  server.on('stream', (stream: ServerHttp2Stream) => {
    const parts: Buffer[] = []
    stream.on('error', () => undefined)
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.once('end', () => {
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      )
      stream.once('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': '0' })
      })
      stream.end(Buffer.concat(parts))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

export const role = { listen }
