import { pemBlocks } from '../identity/pem.ts'
import {
  isSignedBy,
  readCertificate,
  type CertificateFacts,
} from '../identity/validation/validation.ts'
import { spkiPin } from '../identity/keys.ts'

/**
 * Whether one of these roots is a CA of the vendor's: in its trust bundle, or issued by one that is. Whoever such a CA certifies is
 * known on the vendor's word, and no sealed session proves more than that.
 */
export function vendorRoot(
  roots: readonly CertificateFacts[],
  bundlePem: string,
): CertificateFacts | undefined {
  const theirs = pemBlocks(bundlePem, 'CERTIFICATE').map(readCertificate)
  return roots.find((root) =>
    theirs.some(
      (one) => spkiPin(one.publicKey) === spkiPin(root.publicKey) || isSignedBy(root, one),
    ),
  )
}
