/** CRC-32C (RFC 3720, appendix B.4) of bytes, in base64 of its four, big-endian. */
export function crc32c(bytes: Uint8Array): string {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1
  }
  const out = Buffer.alloc(4)
  out.writeUInt32BE((crc ^ 0xffff_ffff) >>> 0)
  return out.toString('base64')
}
