import { asPosternError } from '../../base/errors.ts'
import { about, seen, type Finding, type Seen } from '../../base/finding.ts'
import type { SecretsRow } from '../../dataplane/secrets-row.ts'
import { lookAtMode } from '../../identity/at-rest.ts'
import { readPublicFile } from '../../identity/key-files.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { lookAtEtcd } from './kubernetes.ts'

const AT_REST = 'encryption at rest'
const OK = 200

/** Says how each secrets backend keeps what is written into it, as far as it tells. */
export async function secretFindings(
  rows: readonly SecretsRow[],
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = await Promise.all(
    rows.map(async (row) => about(`secrets (${row.type})`, row.name, await lookAt(row, signal))),
  )
  return found.flat()
}

async function lookAt(row: SecretsRow, signal: AbortSignal): Promise<readonly Seen[]> {
  switch (row.type) {
    case 'files': {
      const text = `age, to ${row.recipient.slice(0, 12)}…, whose key the agent does not have`
      return [seen(AT_REST, 'OK', text), lookAtMode(row.directory)]
    }
    case 'kubernetes':
      return [await lookAtEtcd(row, signal)]
    case 'vault':
      return [await lookAtVault(row)]
    case 'aws': {
      const text = 'AWS Secrets Manager encrypts every value with a key of KMS'
      const whose = row.kmsKey
      return [
        seen(AT_REST, 'OK', text),
        whose === undefined
          ? seen(
              'whose key',
              'WARN',
              "AWS' own key for the account: kmsKey of the row names one of yours",
            )
          : seen('whose key', 'OK', `${whose}, named at every creation`),
      ]
    }
    case 'gcp':
      return [
        seen(AT_REST, 'OK', 'Google Secret Manager encrypts every version'),
        seen('whose key', 'UNKNOWN', 'reading it takes a right that the agent is not given'),
      ]
    case 'azure':
      return [
        seen(AT_REST, 'OK', 'Azure Key Vault encrypts every secret'),
        seen('whose key', 'OK', "Key Vault's own, in its hardware modules"),
      ]
  }
}

/** Vault tells whoever asks how it is sealed (developer.hashicorp.com: "/sys/seal-status"). */
async function lookAtVault({ url, caFile }: Extract<SecretsRow, { type: 'vault' }>): Promise<Seen> {
  try {
    const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
    const place = new URL('/v1/sys/seal-status', url)
    const { status, body } = await askBackend({ url: place, method: 'GET', caPem })
    const { type } = JSON.parse(body.toString()) as { readonly type?: unknown }
    if (status === OK && typeof type === 'string')
      return seen(
        AT_REST,
        'OK',
        `its storage is behind Vault's barrier, sealed by ${type.slice(0, 40)}`,
      )
    return seen(AT_REST, 'UNKNOWN', `it does not tell how it is sealed (status ${String(status)})`)
  } catch (error) {
    return seen(AT_REST, 'UNKNOWN', asPosternError(error).rawMessage)
  }
}
