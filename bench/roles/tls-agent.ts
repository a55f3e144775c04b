import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'

const CHUNK = Buffer.alloc(128 * 1024, 1)

/** The limit: a bare TLS socket that echoes what it gets, or pours bytes. */
async function dial({
  port,
  files,
  pours,
}: {
  port: number
  files: KeyFilePaths
  pours: boolean
}): Promise<void> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ca: readFileSync(files.bundleFile),
    cert: readFileSync(files.certificateFile),
    key: readFileSync(files.keyFile),
  })
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject)
  })
  socket.setNoDelay(true)
  socket.on('error', () => undefined)
  if (!pours) {
    socket.on('data', (chunk) => socket.write(chunk))
    return
  }
  const fill = (): void => {
    while (!socket.destroyed && socket.write(CHUNK));
  }
  socket.on('drain', fill)
  fill()
}

export const role = { dial }
