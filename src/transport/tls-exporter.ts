import type { TLSSocket } from 'node:tls'

const LABEL = 'EXPORTER-Channel-Binding'
const BYTES = 32

/**
 * Channel binding `tls-exporter` (RFC 9266). Only from TLS 1.3 on is it unique without more ado;
 * undefined below.
 */
export function exporterOf(socket: TLSSocket): Buffer | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return undefined
  return socket.exportKeyingMaterial(BYTES, LABEL, Buffer.alloc(0))
}
