/** The data plane's own services on one machine: an object store, a secret, a log and metrics. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request as requestPlain } from 'node:http'
import { request } from 'node:https'
import { fileURLToPath } from 'node:url'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import type { ChildProcesses } from './child-processes.ts'
import { freePort } from './free-port.ts'

const AZURITE = fileURLToPath(
  new URL('../node_modules/azurite/dist/src/blob/main.js', import.meta.url),
)
const EXECUTOR = fileURLToPath(new URL('./quickstart-executor.ts', import.meta.url))
/** The account that every Azurite has, and its key, which everybody knows. */
const ACCOUNT = 'devstoreaccount1'
const ACCOUNT_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
const WAIT_MS = 30_000
const TEXT = 'what a task gave out'

/** Rules of a policy that let the console use the services. */
export const DATA_RULES = `  - name: the data plane's services for the console
    callers: [console@first-hand]
    methods:
      - postern.dataplane.v1.ObjectStore/*
      - postern.dataplane.v1.Secrets/*
      - postern.dataplane.v1.Logs/Tail
      - postern.dataplane.v1.Metrics/*
    sealed: required
  - name: what the console tells and asks of runs
    callers: [console]
    methods: [postern.dataplane.v1.Tasks/*, postern.dataplane.v1.Cluster/Describe]
`

/** Starts an object store, and returns the settings of an agent that has it, a backend for secrets, a log, and metrics where there are any. */
export async function startDataPlane(
  children: ChildProcesses,
  {
    folder,
    certs,
    prometheusPort,
  }: { folder: string; certs: string; prometheusPort: number | undefined },
): Promise<object> {
  const port = await freePort()
  const endpoint = `https://localhost:${String(port)}/${ACCOUNT}`
  const place = [
    '--blobHost',
    '127.0.0.1',
    '--blobPort',
    String(port),
    '--location',
    `${folder}/azurite`,
  ]
  const tls = ['--cert', `${certs}/gateway.pem`, '--key', `${certs}/gateway.key`]
  const azurite = children.start('azurite', process.execPath, [
    ...[AZURITE, ...place, ...tls, '--skipApiVersionCheck', '--disableTelemetry'],
  ])
  await azurite.waitFor('successfully listens', WAIT_MS)
  const client = { tlsOptions: { ca: readFileSync(`${certs}/bundle.pem`, 'utf8') } }
  const options = { retryOptions: { maxTries: 5 }, ...client }
  const key = new StorageSharedKeyCredential(ACCOUNT, ACCOUNT_KEY)
  await new BlobServiceClient(endpoint, key, options).createContainer('artifacts')
  writeFileSync(`${folder}/azurite.key`, `${ACCOUNT_KEY}\n`, { mode: 0o600 })
  mkdirSync(`${folder}/secrets`, { mode: 0o700 })
  mkdirSync(`${folder}/logs`)
  const lines = [1, 2, 3].map((i) => `epoch ${String(i)} token=abc${String(i)}\n`)
  writeFileSync(`${folder}/logs/train.log`, lines.join(''))
  const executorPort = await freePort()
  const executor = children.start('executor', process.execPath, [EXECUTOR, String(executorPort)])
  await executor.waitFor('the executor listens', WAIT_MS)
  const recipient = await identityToRecipient(await generateIdentity())
  return {
    stores: [
      {
        ...{ name: 'artifacts', type: 'azure', bucket: 'artifacts', endpoint },
        ...{ caFile: `${certs}/bundle.pem`, credentialsFile: `${folder}/azurite.key` },
        prefixes: { 'task-io': ['runs/'] },
      },
    ],
    secrets: [{ name: 'local', type: 'files', directory: `${folder}/secrets`, recipient }],
    logs: [
      {
        ...{ name: 'tasks', type: 'files', directory: `${folder}/logs`, path: '{task}.log' },
        redact: [{ pattern: 'token=\\S+', replacement: 'token=…' }],
      },
    ],
    executors: [
      {
        ...{ name: 'local', url: `http://127.0.0.1:${String(executorPort)}` },
        images: ['registry.internal/team/*'],
      },
    ],
    events: { socket: `${folder}/events.sock`, openers: 'owner' },
    prometheus:
      prometheusPort === undefined
        ? []
        : [{ name: 'local', url: `http://127.0.0.1:${String(prometheusPort)}`, metrics: ['up'] }],
  }
}

/** One call of the console: method, request, and more flags; `input`: the request, where it holds a secret. */
export type Call = (method: string, data: object, more?: readonly string[]) => Promise<string>

/** Where the steps happen. */
export interface DataPlace {
  readonly folder: string
  readonly certs: string
  readonly hasPrometheus: boolean
  /** Waits until the gateway has kept an event of a workload of a run, and says so. */
  readonly kept: (run: string) => Promise<string>
}

/** The steps: what each is called, does, and says. */
export function dataSteps(
  call: Call,
  { folder, certs, hasPrometheus, kept }: DataPlace,
): readonly { readonly name: string; readonly act: () => Promise<string> }[] {
  const object = { store: 'artifacts', dataType: 'DATA_TYPE_TASK_IO', key: 'runs/17/output.txt' }
  const scope = { organisation: 'acme' }
  const steps = [
    {
      name: 'an object written and read by presigned URLs',
      act: async () => {
        const md5 = createHash('md5').update(TEXT).digest('base64')
        const more = { length: TEXT.length, checksum: { md5 }, contentType: 'text/plain' }
        const up = await call('ObjectStore/CreateUploadUrl', { ...object, ...more })
        const { urls } = JSON.parse(up) as { urls: [Signed] }
        await use(urls[0], certs, TEXT)
        const down = await call('ObjectStore/CreateDownloadUrl', object)
        const { url } = JSON.parse(down) as { url: Signed }
        const read = await use(url, certs)
        if (read !== TEXT) throw new Error(`it came back as ${JSON.stringify(read)}`)
        return `${String(TEXT.length)} bytes, none of which crossed; good until ${url.expiresAt}`
      },
    },
    {
      name: 'a secret written, which nobody reads back',
      act: async () => {
        const secret = { backend: 'local', scope, name: 'API_KEY' }
        await call('Secrets/Put', { ...secret, value: Buffer.from('hunter2').toString('base64') })
        const listed = await call('Secrets/List', { backend: 'local', scope })
        const file = readFileSync(`${folder}/secrets/acme/API_KEY.age`, 'latin1')
        if (file.includes('hunter2') || !listed.includes('API_KEY'))
          throw new Error('it can be read')
        return `${file.split('\n')[0] ?? ''}, encrypted to a key that the agent does not have`
      },
    },
    {
      name: 'a log, redacted by the customer',
      act: async () => {
        const text = await call(
          'Logs/Tail',
          { source: 'tasks', labels: { task: 'train' }, last: 1 },
          ['--stream'],
        )
        return /"text": ?"([^"]*)"/.exec(text)?.[1] ?? text
      },
    },
  ]
  const action = {
    organisation: 'acme',
    project: 'billing',
    domain: 'dev',
    run: 'r-17',
    action: 'train',
  }
  const attempt = { executor: 'local', action, attempt: 1 }
  const runs = [
    {
      name: 'a task handed to an executor',
      act: async () => {
        const inputs = [{ name: 'rows', uri: 's3://acme-artifacts/runs/17/rows' }]
        const task = {
          name: 'train',
          version: '3',
          image: 'registry.internal/team/train:3',
          inputs,
        }
        await call('Tasks/Dispatch', { ...attempt, task })
        const { phase } = JSON.parse(await call('Tasks/Status', attempt)) as { phase: string }
        return `train, attempt 1: ${phase}`
      },
    },
    {
      name: 'an event of its run, posted by a workload and kept by the gateway',
      act: async () => {
        const event = { action, attempt: 1, phase: 'PHASE_RUNNING', message: 'epoch 1' }
        await postEvent(`${folder}/events.sock`, { events: [event] })
        return await kept('acme/billing/dev/r-17')
      },
    },
  ]
  steps.push(...runs)
  const metrics = {
    name: 'a query of metrics',
    act: async () => {
      const text = await call('Metrics/Query', { source: 'local', query: 'sum(up)' })
      const { series } = JSON.parse(text) as { series: [{ values: [number] }] }
      return `sum(up) = ${String(series[0].values[0])}`
    },
  }
  return hasPrometheus ? [...steps, metrics] : steps
}

interface Signed {
  readonly url: string
  readonly method: string
  readonly headers?: Readonly<Record<string, string>>
  readonly expiresAt: string
}

/** What whoever has a URL does with it. */
async function use(
  { url, method, headers = {} }: Signed,
  certs: string,
  body?: string,
): Promise<string> {
  const ca = readFileSync(`${certs}/bundle.pem`)
  return await new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, ca, agent: false }, (response) => {
      let text = ''
      response.on('data', (piece: Buffer) => (text += piece.toString()))
      response.on('end', () => {
        const { statusCode = 0 } = response
        if (statusCode < 300) resolve(text)
        else reject(new Error(`the store answered ${String(statusCode)}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Posts to the agent's socket, as a workload does. */
async function postEvent(socketPath: string, body: object): Promise<void> {
  const text = JSON.stringify(body)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const path = '/postern.dataplane.v1.Events/Post'
  await new Promise<void>((resolve, reject) => {
    const sent = requestPlain({ socketPath, path, method: 'POST', headers }, (response) => {
      response.resume()
      if (response.statusCode === 200) resolve()
      else reject(new Error(`the agent answered ${String(response.statusCode)}`))
    })
    sent.on('error', reject)
    sent.end(text)
  })
}
