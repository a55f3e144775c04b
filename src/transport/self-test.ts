import { connect } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { silentLogger } from '../base/logger.ts'
import { judgeHostName } from '../identity/host-name.ts'
import type { Credential } from '../identity/key-files.ts'
import { pemBlocks } from '../identity/pem.ts'
import { readCertificate } from '../identity/validation/validation.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { DEFAULT_HANDSHAKE_LIMITS } from './handshake-gate.ts'
import { NetworkBudget } from './network-budget.ts'
import { TrustedProxies } from './trusted-proxies.ts'
import { TlsListener } from './tls-accept.ts'
import { ALPN, rootsOf, TLS_OPTIONS } from './tls-options.ts'

const MS_MAX = 5000

/**
 * Whether this runtime refuses who shows no certificate: releases of Node have broken parts of mutual
 * TLS. A listener of the very kind that will serve is dialled once without one, on loopback.
 * Resolves to whether that could be tested: not where our own bundle does not vouch for us.
 * @throws RUNTIME_UNSUPPORTED, LISTEN_FAILED
 */
export async function testMutualTls(credential: Credential, clock: Clock): Promise<boolean> {
  let admitted = 0
  const listener = new TlsListener({
    address: { host: '127.0.0.1', port: 0 },
    credential,
    expected: { trustDomain: credential.identity.trustDomain, roles: ['agent', 'caller'] },
    limits: DEFAULT_HANDSHAKE_LIMITS,
    clock,
    budget: new NetworkBudget(clock),
    proxies: new TrustedProxies(),
    logger: silentLogger,
    onPeer: (wire) => {
      admitted++
      wire.destroy()
    },
  })
  const { port } = await listener.listen()
  try {
    const outcome = await dialWithout(port, credential, clock)
    if (admitted === 0 && outcome !== 'served') return outcome === 'refused'
    const text = `Node.js ${process.versions.node} lets in peers without a certificate`
    throw new PosternError('RUNTIME_UNSUPPORTED', text)
  } finally {
    listener.close()
  }
}

/** What became of it; `unknown` where we did not take the listener for what it is. */
async function dialWithout(
  port: number,
  credential: Credential,
  clock: Clock,
): Promise<'refused' | 'served' | 'unknown'> {
  const { bundlePem, certificatePem } = credential
  const [leaf] = pemBlocks(certificatePem, 'CERTIFICATE')
  const names = readCertificate(leaf ?? Buffer.alloc(0)).extensions.names ?? []
  const servername = names.flatMap(({ kind, value }) => (kind === 'dns' ? [value] : []))[0] ?? ''
  return await new Promise((resolve) => {
    let hasSpoken = false
    let wasShaken = false
    const socket = connect({
      ...TLS_OPTIONS,
      host: '127.0.0.1',
      port,
      ca: rootsOf(bundlePem),
      servername,
      ALPNProtocols: [ALPN],
      checkServerIdentity: (_host, certificate) => judgeHostName(certificate.raw, servername),
    })
    const cancel = clock.startTimer(MS_MAX, () => {
      resolve('served')
      socket.destroy()
    })
    once(socket, 'secureConnect', () => (wasShaken = true))
    on(socket, 'data', () => (hasSpoken = true))
    ignoreErrors(socket)
    once(socket, 'close', () => {
      cancel()
      resolve(hasSpoken ? 'served' : wasShaken ? 'refused' : 'unknown')
    })
  })
}
