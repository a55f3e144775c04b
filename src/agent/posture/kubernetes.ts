import { asPosternError } from '../../base/errors.ts'
import { seen, type Seen } from '../../base/finding.ts'
import { LineSplitter } from '../../dataplane/log-lines.ts'
import type { SecretsRow } from '../../dataplane/secrets-row.ts'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import { streamBackend } from '../../transport/stream-backend.ts'

const AT_REST = 'encryption at rest'
const OK = 200
const LINE_BYTES_MAX = 4096
/** Of a large cluster they are many; more than that is not read for one line of a posture. */
const BYTES_MAX = 64 * 1024 ** 2
const SAMPLE =
  /^apiserver_storage_transformation_operations_total\{(?<labels>[^}]*)\} (?<count>[0-9.e+]+)/
/** What stands before a value in etcd: k8s:enc:PROVIDER:VERSION (kubernetes.io, "Encrypting Confidential Data at Rest"). */
const PREFIX = /transformer_prefix="(?:k8s:enc:(?<provider>\w+)[^"]*|(?<identity>identity|))"/

/** How the API server keeps Secrets, by its own metrics: which provider what it has written since its start went through. */
export async function lookAtEtcd(
  { url, caFile, tokenFile }: Extract<SecretsRow, { type: 'kubernetes' }>,
  signal: AbortSignal,
): Promise<Seen> {
  try {
    const headers = { authorization: `Bearer ${readSecretFile(tokenFile).trim()}` }
    const place = { url: new URL('/metrics', url), method: 'GET' } as const
    const call = { ...place, headers, caPem: readPublicFile(caFile), signal }
    const { status, body, close } = await streamBackend(call)
    if (status !== OK) {
      close()
      return unknown(
        `the API server shows the agent no metrics (status ${String(status)}): a role with get on the nonResourceURL /metrics lets it look`,
      )
    }
    return judge(await providersIn(body))
  } catch (error) {
    return unknown(asPosternError(error).rawMessage)
  }
}

/** The providers that Secrets were written through; "" stands for none. */
async function providersIn(body: AsyncIterable<Buffer>): Promise<ReadonlySet<string>> {
  const splitter = new LineSplitter(LINE_BYTES_MAX)
  const found = new Set<string>()
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > BYTES_MAX) break
    for (const { text } of splitter.push(piece)) {
      const { labels = '', count = '0' } = SAMPLE.exec(text)?.groups ?? {}
      const isOfSecrets = labels.includes('resource="secrets"')
      if (!isOfSecrets || !labels.includes('"to_storage"') || Number(count) === 0) continue
      const groups = PREFIX.exec(labels)?.groups
      if (groups !== undefined) found.add(groups.provider ?? '')
    }
  }
  return found
}

function judge(providers: ReadonlySet<string>): Seen {
  const named = [...providers].filter((one) => one !== '').sort()
  if (providers.has(''))
    return seen(AT_REST, 'FAIL', 'the API server has written Secrets into etcd unencrypted')
  if (named.length > 0)
    return seen(AT_REST, 'OK', `the API server writes Secrets into etcd by ${named.join(', ')}`)
  return unknown(
    'the metrics of the API server tell nothing of Secrets: its EncryptionConfiguration, or the cloud, does',
  )
}

function unknown(why: string): Seen {
  return seen(AT_REST, 'UNKNOWN', why)
}
