import { asPosternError } from '../../base/errors.ts'
import { seen, type Seen } from '../../base/finding.ts'

const OK = 200
const NOT_FOUND = 404

/** What a bucket answers to one of its questions. */
export interface BucketAnswer {
  readonly status: number
  readonly text: string
}

type Judge = (answer: BucketAnswer) => readonly ['OK' | 'WARN' | 'FAIL', string] | undefined

/** What is asked of a bucket (docs.aws.amazon.com: "Amazon S3 API Reference"), by which right, and what the answer means. */
const QUESTIONS: readonly {
  readonly check: string
  readonly query: string
  readonly right: string
  readonly judge: Judge
}[] = [
  {
    check: 'encryption at rest',
    query: 'encryption',
    right: 's3:GetEncryptionConfiguration',
    judge: ({ status, text }) => {
      const algorithm = /<SSEAlgorithm>([A-Za-z0-9:]{1,20})</.exec(text)?.[1]
      const key = /<KMSMasterKeyID>([^<]{1,200})</.exec(text)?.[1]
      if (status === NOT_FOUND) return ['FAIL', 'the bucket has no default encryption']
      if (algorithm === undefined) return undefined
      const whose = key === undefined ? "the provider's key" : `the customer's key ${key}`
      return ['OK', `${algorithm} by default, with ${whose}`]
    },
  },
  {
    check: 'versions kept',
    query: 'versioning',
    right: 's3:GetBucketVersioning',
    judge: ({ status, text }) => {
      if (status !== OK) return undefined
      const isOn = text.includes('<Status>Enabled</Status>')
      return isOn ? ['OK', 'versioning is enabled'] : ['WARN', 'versioning is not enabled']
    },
  },
  {
    check: 'no public access',
    query: 'publicAccessBlock',
    right: 's3:GetBucketPublicAccessBlock',
    judge: ({ status, text }) => {
      if (status === NOT_FOUND) return ['FAIL', 'nothing blocks public access to the bucket']
      if (status !== OK) return undefined
      const blocks = [
        'BlockPublicAcls',
        'IgnorePublicAcls',
        'BlockPublicPolicy',
        'RestrictPublicBuckets',
      ]
      const open = blocks.filter((one) => !text.includes(`<${one}>true</${one}>`))
      return open.length === 0
        ? ['OK', 'all four blocks are on']
        : ['FAIL', `not blocked: ${open.join(', ')}`]
    },
  },
  {
    check: 'TLS alone',
    query: 'policy',
    right: 's3:GetBucketPolicy',
    judge: ({ status, text }) => {
      if (status === NOT_FOUND)
        return [
          'WARN',
          'no policy of the bucket refuses plain HTTP; URLs of the agent are https all the same',
        ]
      if (status !== OK) return undefined
      return deniesPlain(text)
        ? ['OK', 'its policy denies requests without TLS']
        : [
            'WARN',
            'its policy does not deny requests without TLS; URLs of the agent are https all the same',
          ]
    },
  },
]

/** Asks a bucket how it keeps what is in it. What it does not tell is UNKNOWN, with the right that is missing. */
export async function s3Posture(
  ask: (query: string) => Promise<BucketAnswer>,
): Promise<readonly Seen[]> {
  const found: Seen[] = []
  for (const { check, query, right, judge } of QUESTIONS)
    try {
      const answer = await ask(query)
      const [outcome, evidence] = judge(answer) ?? [
        'UNKNOWN' as const,
        `it does not tell (status ${String(answer.status)}); the right ${right} lets it`,
      ]
      found.push(seen(check, outcome, evidence))
    } catch (error) {
      found.push(seen(check, 'UNKNOWN', asPosternError(error).rawMessage))
    }
  return found
}

/** Whether a policy denies whoever comes without TLS: a statement for all, on the condition aws:SecureTransport false. */
function deniesPlain(text: string): boolean {
  let statements: unknown
  try {
    statements = (JSON.parse(text) as { Statement?: unknown }).Statement
  } catch {
    // No policy that anybody could read.
    return false
  }
  const list: readonly unknown[] = Array.isArray(statements) ? statements : [statements]
  return list.some((one) => {
    const { Effect, Principal, Condition, Action } = (one ?? {}) as Readonly<
      Record<string, unknown>
    >
    const isForAll = Principal === '*' || JSON.stringify(Principal) === '{"AWS":"*"}'
    const isAll =
      Action === 's3:*' || Action === '*' || (Array.isArray(Action) && Action.includes('s3:*'))
    const condition = JSON.stringify(Condition ?? {})
    return (
      Effect === 'Deny' && isForAll && isAll && /"aws:SecureTransport":\[?"?false/.test(condition)
    )
  })
}
