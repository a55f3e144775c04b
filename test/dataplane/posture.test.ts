import { expect } from 'chai'
import { s3Posture, type BucketAnswer } from '../../src/dataplane/objects/s3-posture.ts'
import { gcsPosture } from '../../src/dataplane/objects/gcs-posture.ts'

const ENCRYPTED =
  '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:eu-west-1:1:key/k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
const BLOCKED = [
  'BlockPublicAcls',
  'IgnorePublicAcls',
  'BlockPublicPolicy',
  'RestrictPublicBuckets',
]
  .map((one) => `<${one}>true</${one}>`)
  .join('')
const DENY = {
  ...{ Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: '*' },
  Condition: { Bool: { 'aws:SecureTransport': 'false' } },
}

describe('how a bucket keeps what is in it', () => {
  const GOOD: Readonly<Record<string, BucketAnswer>> = {
    encryption: { status: 200, text: ENCRYPTED },
    versioning: { status: 200, text: '<Status>Enabled</Status>' },
    publicAccessBlock: { status: 200, text: BLOCKED },
    policy: { status: 200, text: JSON.stringify({ Statement: [DENY] }) },
  }
  const outcomes = async (change: Readonly<Record<string, BucketAnswer>> = {}) => {
    const found = await s3Posture((question) =>
      Promise.resolve({ ...GOOD, ...change }[question] ?? { status: 500, text: '' }),
    )
    return Object.fromEntries(found.map(({ check, outcome }) => [check, outcome]))
  }

  it('is told by S3, question by question', async () => {
    const good = {
      'encryption at rest': 'OK',
      'versions kept': 'OK',
      'no public access': 'OK',
      'TLS alone': 'OK',
    }
    expect(await outcomes()).to.deep.equal(good)
    const found = await s3Posture((question) => Promise.resolve(GOOD[question] as BucketAnswer))
    expect(found[0]?.evidence).to.include('arn:aws:kms:eu-west-1:1:key/k')
  })

  for (const [what, change, check, outcome] of [
    ['no encryption', { encryption: { status: 404, text: '' } }, 'encryption at rest', 'FAIL'],
    ['no right to ask', { encryption: { status: 403, text: '' } }, 'encryption at rest', 'UNKNOWN'],
    [
      'an answer of nothing',
      { encryption: { status: 200, text: '<x/>' } },
      'encryption at rest',
      'UNKNOWN',
    ],
    ['no versions', { versioning: { status: 200, text: '<x/>' } }, 'versions kept', 'WARN'],
    [
      'no block of public access',
      { publicAccessBlock: { status: 404, text: '' } },
      'no public access',
      'FAIL',
    ],
    [
      'one of four blocks off',
      {
        publicAccessBlock: {
          status: 200,
          text: BLOCKED.replace('<BlockPublicPolicy>true', '<BlockPublicPolicy>false'),
        },
      },
      'no public access',
      'FAIL',
    ],
    ['no policy', { policy: { status: 404, text: '' } }, 'TLS alone', 'WARN'],
    [
      'a policy that denies some alone',
      {
        policy: {
          status: 200,
          text: JSON.stringify({ Statement: [{ ...DENY, Principal: { AWS: 'arn:x' } }] }),
        },
      },
      'TLS alone',
      'WARN',
    ],
    [
      'a policy that allows on the same condition',
      {
        policy: { status: 200, text: JSON.stringify({ Statement: { ...DENY, Effect: 'Allow' } }) },
      },
      'TLS alone',
      'WARN',
    ],
    ['a policy that nobody can read', { policy: { status: 200, text: '{' } }, 'TLS alone', 'WARN'],
  ] as const)
    it(`is not taken for better than it is: ${what}`, async () => {
      expect((await outcomes(change))[check]).to.equal(outcome)
    })

  it('is UNKNOWN where the store does not answer', async () => {
    const found = await s3Posture(() => Promise.reject(new Error('away')))
    expect(found.map(({ outcome }) => outcome)).to.deep.equal(Array(4).fill('UNKNOWN'))
  })

  it('is told by GCS', async () => {
    const of = async (value: unknown) => {
      const found = await gcsPosture(() => Promise.resolve(value))
      return Object.fromEntries(
        found.map(({ check, outcome, evidence }) => [check, `${outcome} ${evidence}`]),
      )
    }
    const good = await of({
      encryption: { defaultKmsKeyName: 'projects/p/key' },
      versioning: { enabled: true },
      iamConfiguration: { publicAccessPrevention: 'enforced' },
    })
    expect(good['whose key']).to.equal("OK the customer's key projects/p/key")
    expect(good['no public access']).to.match(/^OK/)
    const poor = await of({})
    expect(
      [poor['versions kept'], poor['no public access']].map((one) => one?.split(' ')[0]),
    ).to.deep.equal(['WARN', 'WARN'])
    const away = await gcsPosture(() => Promise.reject(new Error('away')))
    expect(away.at(-1)?.outcome).to.equal('UNKNOWN')
  })
})
