import { asPosternError } from '../../base/errors.ts'
import { seen, type Seen } from '../../base/finding.ts'

type Fields = Readonly<Record<string, unknown>>

/** Judges what a bucket of Google Cloud Storage tells of itself (cloud.google.com: "Buckets" of the JSON API). */
export async function gcsPosture(ask: () => Promise<unknown>): Promise<readonly Seen[]> {
  const always = seen(
    'encryption at rest',
    'OK',
    'Google Cloud Storage encrypts all that it keeps, and nothing turns that off',
  )
  try {
    const { encryption, versioning, iamConfiguration } = fields(await ask())
    const { defaultKmsKeyName: key } = fields(encryption)
    const isKept = fields(versioning).enabled === true
    const prevention = fields(iamConfiguration).publicAccessPrevention
    const whose =
      typeof key === 'string' ? `the customer's key ${key.slice(0, 200)}` : "Google's own key"
    return [
      always,
      seen('whose key', 'OK', whose),
      seen('versions kept', isKept ? 'OK' : 'WARN', `versioning is ${isKept ? '' : 'not '}enabled`),
      prevention === 'enforced'
        ? seen('no public access', 'OK', 'publicAccessPrevention is enforced')
        : seen(
            'no public access',
            'WARN',
            'publicAccessPrevention is inherited: the organisation decides',
          ),
      seen('TLS alone', 'OK', 'URLs of the agent are https'),
    ]
  } catch (error) {
    const text = `${asPosternError(error).rawMessage}; the right storage.buckets.get lets it tell`
    return [always, seen('no public access', 'UNKNOWN', text)]
  }
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}
