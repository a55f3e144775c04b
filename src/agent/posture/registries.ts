import type { Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { about, seen, type Finding, type Seen } from '../../base/finding.ts'
import { AwsJson } from '../../dataplane/aws-json.ts'
import { awsCredentials, type AwsSource } from '../../dataplane/aws-credentials.ts'
import type { ExecutorRow } from '../../dataplane/executor-row.ts'

const AT_REST = 'encryption at rest'
const BYTES_MAX = 4 * 1024 * 1024
const PAGES_MAX = 50
const OK = 200
/** docs.aws.amazon.com/AmazonECR, "Private registry concepts". */
const ECR = /^(?<account>\d{12})\.dkr\.ecr\.(?<region>[a-z0-9-]{1,40})\.amazonaws\.com(?<of>\.cn)?$/

/** Where Amazon's API of registries is asked. Defaults: its own endpoint, and the credentials of the platform. */
export interface EcrPlace {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly endpoint?: URL
  readonly credentials?: Partial<AwsSource>
}

/** Says how registries keep images that executors may run: Amazon's tells, the API of others has no word for it. */
export async function registryFindings(
  rows: readonly ExecutorRow[],
  place: EcrPlace,
  signal: AbortSignal,
): Promise<Finding[]> {
  const images = rows.flatMap((row) => row.images)
  const hosts = new Set(images.map((one) => one.split('/')[0] ?? ''))
  const found = await Promise.all(
    [...hosts].map(async (host) => {
      const own = images.filter((one) => one.startsWith(`${host}/`))
      const repositories = own.map((one) => one.slice(host.length + 1))
      return about('container registry', host, [await lookAt(host, repositories, place, signal)])
    }),
  )
  return found.flat()
}

async function lookAt(
  host: string,
  repositories: readonly string[],
  place: EcrPlace,
  signal: AbortSignal,
): Promise<Seen> {
  const { account = '', region = '', of = '' } = ECR.exec(host)?.groups ?? {}
  if (account === '') {
    const text = "the registry API does not tell how images are stored: its cloud's console does"
    return seen(AT_REST, 'UNKNOWN', text)
  }
  try {
    const usual = new URL(`https://api.ecr.${region}.amazonaws.com${of}`)
    const { endpoint = usual, clock, credentials = {} } = place
    const source = { region, credentialsFile: undefined, profile: undefined, ...credentials }
    const where = { region, endpoint, caFile: undefined, bytesMax: BYTES_MAX }
    const service = { service: 'ecr', target: 'AmazonEC2ContainerRegistry_V20150921', ...where }
    const api = new AwsJson(service, clock, await awsCredentials(source))
    return judge(await typesIn(api, account, repositories, signal))
  } catch (error) {
    return seen(AT_REST, 'UNKNOWN', asPosternError(error).rawMessage)
  }
}

/** By which types the repositories that are named are encrypted, and how many by each. */
async function typesIn(
  api: AwsJson,
  account: string,
  named: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const types = new Map<string, number>()
  let next: unknown
  for (let page = 0; page < PAGES_MAX; page++) {
    const more = typeof next === 'string' ? { nextToken: next } : {}
    const body = Buffer.from(JSON.stringify({ registryId: account, maxResults: 1000, ...more }))
    const answer = await api.ask('DescribeRepositories', body, signal)
    if (answer.status !== OK)
      throw new PosternError('BACKEND_REFUSED', `status ${String(answer.status)}`)
    const { repositories = [], nextToken } = JSON.parse(answer.body.toString()) as Page
    for (const { repositoryName = '', encryptionConfiguration } of repositories) {
      if (!named.some((one) => isNamed(one, repositoryName))) continue
      const type = encryptionConfiguration?.encryptionType ?? 'AES256'
      types.set(type, (types.get(type) ?? 0) + 1)
    }
    next = nextToken
    if (typeof next !== 'string') break
  }
  return types
}

interface Page {
  readonly repositories?: readonly {
    readonly repositoryName?: string
    readonly encryptionConfiguration?: { readonly encryptionType?: string }
  }[]
  readonly nextToken?: unknown
}

function isNamed(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

function judge(types: ReadonlyMap<string, number>): Seen {
  if (types.size === 0)
    return seen(AT_REST, 'UNKNOWN', 'it has none of the repositories that the settings name')
  const words = [...types].sort().map(([type, count]) => `${String(count)} by ${type.slice(0, 20)}`)
  return seen(AT_REST, 'OK', `Amazon ECR encrypts every repository: ${words.join(', ')}`)
}
