import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { SecretsRow } from '../secrets-row.ts'
import type { SecretBackend } from './secret-backend.ts'

const GCP_SCOPE = 'https://www.googleapis.com/auth/cloud-platform'

/** The clock and chance that backends are opened with. */
export interface BackendPorts {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly random: Pick<Random, 'hex'>
}

/** Opens a backend, whose code and library are read for that. */
export async function openBackend(row: SecretsRow, ports: BackendPorts): Promise<SecretBackend> {
  switch (row.type) {
    case 'files':
      return new (await import('./age-files.ts')).AgeFiles(row, ports.random)
    case 'kubernetes':
      return new (await import('./kubernetes.ts')).KubernetesSecrets(row, ports.clock)
    case 'vault':
      return new (await import('./vault.ts')).Vault(row)
    case 'gcp': {
      const { GcpSecrets } = await import('./gcp.ts')
      const { GoogleCredentials } = await import('../google-credentials.ts')
      return new GcpSecrets(row, await GoogleCredentials.open(row.credentialsFile, [GCP_SCOPE]))
    }
    case 'azure': {
      const { AzureVault } = await import('./azure-vault.ts')
      const { azureIdentity } = await import('../azure-credentials.ts')
      return new AzureVault(row, await azureIdentity())
    }
    case 'aws': {
      const { AwsSecrets } = await import('./aws-secrets.ts')
      const { awsCredentials } = await import('../aws-credentials.ts')
      return new AwsSecrets(row, { ...ports, credentials: await awsCredentials(row) })
    }
  }
}
