/** Label of a certificate in PEM. */
export const CERTIFICATE = 'CERTIFICATE'
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----/g
/** Whole base64 (RFC 4648 section 4), padded, in one line. */
export const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * The blocks of one label in a PEM text (RFC 7468), decoded; text around them is for people.
 * Throws a plain Error where a block is malformed.
 */
export function pemBlocks(text: string, label: string): Buffer[] {
  const begun = text.split(`-----BEGIN ${label}-----`).length - 1
  const blocks: Buffer[] = []
  for (const [, found, body = ''] of text.matchAll(BLOCK)) {
    if (found !== label) continue
    const base64 = body.replace(/\s+/g, '')
    if (base64 === '' || !BASE64.test(base64)) throw new Error(`a block of ${label} is no base64`)
    blocks.push(Buffer.from(base64, 'base64'))
  }
  if (blocks.length !== begun) throw new Error(`a block of ${label} is cut off or malformed`)
  return blocks
}

/** One certificate in PEM. */
export function certificatePem(der: Uint8Array): string {
  return pemText(CERTIFICATE, der)
}

/** One block, in lines of 64. */
export function pemText(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
