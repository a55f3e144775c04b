import { createPublicKey } from 'node:crypto'
import { PosternError, printable } from '../../base/errors.ts'
import { readCertificateFile } from '../../identity/certificate-files.ts'
import type { KeyFilePaths } from '../../identity/key-files.ts'
import { spkiPin } from '../../identity/keys.ts'
import { renewAtMs } from '../../identity/schedule.ts'
import type { CertificateFacts } from '../../identity/validation/validation.ts'
import { subjectText } from './verify.ts'
import { humanSpan, command, JSON_OPTION } from '../program/program.ts'
import { locate, PLACE_OPTIONS, type Located } from '../place/place.ts'

const BAR_CELLS = 20
/** As in the field: 0 means "act", so that it fits an ExecCondition of systemd. */
const NEEDS_RENEWAL = { yes: 0, no: 1, noFile: 2 } as const

/** `agent certs show`: what the agent's certificate is, until when, and when it is renewed. */
export const certsShow = command({
  path: 'show',
  describe: "Show the agent's certificate, its chain and its roots, from the files.",
  options: {
    ...PLACE_OPTIONS,
    ...JSON_OPTION,
  },
  run: (args, surroundings) => {
    const nowMs = surroundings.ambient('error', 'certs').clock.wallMs()
    const facts = describe(locate(args, surroundings), nowMs)
    surroundings.output.result(args.json ? JSON.stringify(facts, null, 2) : humanText(facts, nowMs))
    return 0
  },
})

/** `agent certs needs-renewal`, for scripts. */
export const certsNeedsRenewal = command({
  path: 'needs-renewal',
  describe: 'Say by the exit status whether it is due. 0: yes, 1: no, 2: there is no certificate.',
  options: { ...PLACE_OPTIONS },
  run: (args, surroundings) => {
    const nowMs = surroundings.ambient('error', 'certs').clock.wallMs()
    try {
      const { dueAt } = describe(locate(args, surroundings), nowMs)
      return Date.parse(dueAt) <= nowMs ? NEEDS_RENEWAL.yes : NEEDS_RENEWAL.no
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      surroundings.output.note(`agent: ${error.message}`)
      return NEEDS_RENEWAL.noFile
    }
  },
})

interface Description {
  readonly identity: string
  readonly key: string
  readonly serial: string
  readonly notBefore: string
  readonly notAfter: string
  readonly expiresInMs: number
  readonly dueAt: string
  readonly isManaged: boolean
  /** Leaf first. */
  readonly chain: readonly string[]
  readonly roots: readonly {
    readonly subject: string
    readonly pin: string
    readonly notAfter: string
  }[]
  readonly files: KeyFilePaths
}

/** @throws FILE_UNREADABLE, CERTIFICATE_UNUSABLE */
function describe({ files, isManaged }: Located, nowMs: number): Description {
  const chain = certificatesOf(files.certificateFile)
  const roots = certificatesOf(files.bundleFile)
  const leaf = chain[0] as CertificateFacts
  const serial = leaf.serial.toString('hex')
  const { notBeforeMs, notAfterMs } = leaf
  const iso = (ms: number): string => new Date(ms).toISOString()
  const name = leaf.extensions.names?.find(({ kind }) => kind === 'uri')?.value
  return {
    identity: typeof name === 'string' ? name : '(none)',
    key: keyText(leaf),
    serial,
    notBefore: iso(notBeforeMs),
    notAfter: iso(notAfterMs),
    expiresInMs: Math.round(notAfterMs - nowMs),
    dueAt: iso(renewAtMs({ serial, notBeforeMs, notAfterMs })),
    isManaged,
    chain: chain.map(subjectText),
    roots: roots.map((root) => ({
      subject: subjectText(root),
      pin: spkiPin(root.publicKey),
      notAfter: iso(root.notAfterMs),
    })),
    files,
  }
}

/** At least one. @throws FILE_UNREADABLE, CERTIFICATE_UNUSABLE */
function certificatesOf(path: string): readonly CertificateFacts[] {
  const { certificates, broken } = readCertificateFile(path)
  if (certificates.length > 0 && broken.length === 0) return certificates
  throw new PosternError('CERTIFICATE_UNUSABLE', broken[0] ?? `${path}: it holds no certificate`)
}

function keyText({ publicKey }: CertificateFacts): string {
  const key = createPublicKey({ key: publicKey, format: 'der', type: 'spki' })
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {}
  const size = namedCurve ?? (modulusLength === undefined ? '' : `${String(modulusLength)} bits`)
  return `${key.asymmetricKeyType ?? 'unknown'} ${size}`.trim()
}

function humanText(facts: Description, nowMs: number): string {
  const [from, to] = [Date.parse(facts.notBefore), Date.parse(facts.notAfter)]
  const part = Math.min(1, Math.max(0, (nowMs - from) / (to - from)))
  const filled = Math.round(part * BAR_CELLS)
  const bar = `[${'#'.repeat(filled)}${'-'.repeat(BAR_CELLS - filled)}] ${String(Math.round(part * 100))} %`
  const dueMs = Date.parse(facts.dueAt) - nowMs
  const due = dueMs > 0 ? `due ${facts.dueAt} (in ${humanSpan(dueMs)})` : 'due now'
  const left = facts.expiresInMs > 0 ? `${humanSpan(facts.expiresInMs)} left` : 'EXPIRED'
  const rows: (readonly [string, string])[] = [
    ['identity', facts.identity],
    ['validity', `${facts.notBefore} to ${facts.notAfter}`],
    ['', `${bar}, ${left}`],
    ['renewal', facts.isManaged ? due : 'by somebody else, who manages the files'],
    ['key', `${facts.key}, ${facts.files.keyFile}`],
    ['serial', facts.serial],
    ...facts.chain.map((subject, i) => [i === 0 ? 'chain' : '', subject] as const),
    ...facts.roots.map(
      ({ subject, pin, notAfter }, i) =>
        [i === 0 ? 'roots' : '', `${subject} until ${notAfter}, ${pin}`] as const,
    ),
  ]
  return rows.map(([name, value]) => `${name.padEnd(10)} ${printable(value, 1000)}`).join('\n')
}
