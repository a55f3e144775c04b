import { connect } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { silentLogger } from '../base/logger.ts'
import { judgeHostName } from '../identity/host-name.ts'
import type { Credential } from '../identity/key-files.ts'
import { pemBlocks } from '../identity/pem.ts'
import { readCertificate } from '../identity/validation/certificate.ts'
import { DEFAULT_HANDSHAKE_LIMITS } from './handshake-gate.ts'
import { TlsListener } from './tls-accept.ts'
import { ALPN, TLS_OPTIONS } from './tls-options.ts'

const MS_MAX = 5000

/**
 * Whether this runtime refuses who shows no certificate: releases of Node have broken parts of mutual
 * TLS. A listener of the very kind that will serve is dialled once without one, on loopback.
 * @throws RUNTIME_UNSUPPORTED, LISTEN_FAILED
 */
export async function testMutualTls(credential: Credential, clock: Clock): Promise<void> {
  let admitted = 0
  const listener = new TlsListener({
    address: { host: '127.0.0.1', port: 0 },
    credential,
    expected: { trustDomain: credential.identity.trustDomain, roles: ['agent', 'caller'] },
    limits: DEFAULT_HANDSHAKE_LIMITS,
    clock,
    logger: silentLogger,
    onPeer: (wire) => {
      admitted++
      wire.destroy()
    },
  })
  const { port } = await listener.listen()
  try {
    const wasClosed = await dialWithout(port, credential, clock)
    if (admitted === 0 && wasClosed) return
    const text = `Node.js ${process.versions.node} lets in peers without a certificate`
    throw new PosternError('RUNTIME_UNSUPPORTED', text)
  } finally {
    listener.close()
  }
}

/** Resolves to whether the listener hung up, and said nothing. */
async function dialWithout(port: number, credential: Credential, clock: Clock): Promise<boolean> {
  const { bundlePem, certificatePem } = credential
  const [leaf] = pemBlocks(certificatePem, 'CERTIFICATE')
  const names = readCertificate(leaf ?? Buffer.alloc(0)).extensions.names ?? []
  const servername = names.flatMap(({ kind, value }) => (kind === 'dns' ? [value] : []))[0] ?? ''
  return await new Promise((resolve) => {
    let hasSpoken = false
    const socket = connect({
      ...TLS_OPTIONS,
      host: '127.0.0.1',
      port,
      ca: bundlePem,
      servername,
      ALPNProtocols: [ALPN],
      checkServerIdentity: (_host, certificate) => judgeHostName(certificate.raw, servername),
    })
    const cancel = clock.startTimer(MS_MAX, () => {
      resolve(false)
      socket.destroy()
    })
    socket.on('data', () => (hasSpoken = true))
    socket.on('error', () => undefined)
    socket.once('close', () => {
      cancel()
      resolve(!hasSpoken)
    })
  })
}
