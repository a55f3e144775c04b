import { X509Certificate } from 'node:crypto'
import { PosternError, printable } from '../../base/errors.ts'
import { readCertificateFile } from '../../identity/certificate-files.ts'
import {
  type CertificateFacts,
  validatePath,
  type PathVerdict,
} from '../../identity/validation/validation.ts'
import { judgeLeaf, leafFaults } from '../../identity/leaf-rules.ts'
import { checkOwn } from './check.ts'
import { table, type Output, command, JSON_OPTION } from '../program/program.ts'

const INVALID = 1
const EPOCH_SECONDS = /^\d{1,11}$/
const ISO_TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/

interface VerifyArguments {
  readonly leaf: string | undefined
  readonly config: string | undefined
  readonly intermediates: readonly string[]
  readonly roots: readonly string[]
  readonly name: string | undefined
  readonly time: string | undefined
  readonly role: 'client' | 'server' | undefined
  readonly json: boolean
}

/** `agent certs verify`: judges certificates in files as a handshake would. */
export const certsVerify = command({
  path: 'verify',
  describe:
    'Judge a certificate chain by RFC 5280; without --leaf our own, against bundle and gateway. Exit 0: valid, 1: not, with every broken rule.',
  options: {
    leaf: {
      type: 'string',
      describe:
        'File with the certificate, PEM or DER. More in it count as intermediates. Default: our own, step by step.',
    },
    config: { type: 'string', describe: 'Without --leaf: file of the daemon. (POSTERN_CONFIG)' },
    intermediates: {
      type: 'strings',
      describe: 'Files with certificates that may stand between; they are not trusted.',
    },
    roots: {
      type: 'strings',
      describe: 'Files with the certificates that are trusted; needed with --leaf.',
    },
    name: { type: 'string', describe: 'DNS name or address that the certificate must hold.' },
    time: {
      type: 'string',
      describe:
        'Time to judge at: a date (UTC), a time with a zone (ISO 8601), or seconds since 1970. Default: now.',
    },
    role: {
      type: 'string',
      choices: ['client', 'server'],
      describe:
        'What it is used as: judged as a handshake would, chain and rules for leaves. Default: the chain alone.',
    },
    ...JSON_OPTION,
  },
  examples: [
    [
      '$0 certs verify --leaf agent.pem --roots bundle.pem --role client',
      'Would our agents be let in with this?',
    ],
  ],
  run: async (args, surroundings) => {
    const nowMs = (): number => surroundings.ambient('error', 'certs').clock.wallMs()
    const { leaf } = args

    if (leaf !== undefined) return runVerify({ ...args, leaf }, nowMs, surroundings.output)
    if (args.roots.length > 0) throw new PosternError('USAGE', '--leaf is missing')
    return await checkOwn(args, surroundings)
  },
})

function runVerify(
  args: VerifyArguments & { readonly leaf: string },
  nowMs: () => number,
  output: Output,
): number {
  if (args.roots.length === 0) throw new PosternError('USAGE', '--roots is missing')
  const timeMs = args.time === undefined ? nowMs() : parseTime(args.time)
  const [first, ...files] = [args.leaf, ...args.intermediates].map(readCertificateFile)
  const roots = args.roots.map(readCertificateFile)
  for (const line of [...files, ...roots].flatMap(({ broken }) => broken))
    output.note(`agent: left out: ${line}`)
  const [leaf, ...rest] = first?.certificates ?? []
  if (leaf === undefined || (first?.broken.length ?? 0) > 0) {
    const faults =
      first?.broken.length === 0 ? [`${args.leaf}: it holds no certificate`] : first?.broken
    show(
      { valid: false, path: [], faults: (faults ?? []).map((rule) => ({ place: 'leaf', rule })) },
      args,
      output,
    )
    return INVALID
  }
  const verdict = validatePath({
    leaf,
    intermediates: [...rest, ...files.flatMap(({ certificates }) => certificates)],
    roots: roots.flatMap(({ certificates }) => certificates),
    timeMs,
    role: args.role,
    name: args.name,
  })
  const result = withLeafRules(resultOf(verdict), leaf, args.role)
  show(result, args, output)
  return result.valid ? 0 : INVALID
}

/** With a role the question is what a handshake of ours would say: of the chain, and of the leaf by our own rules. */
function withLeafRules(
  result: VerifyResult,
  leaf: CertificateFacts,
  role: VerifyArguments['role'],
): VerifyResult {
  if (role === undefined) return result
  const told = new Set(result.faults.map(({ rule }) => rule))
  const more = ruleFaults(leaf, role).filter((rule) => !told.has(rule))
  const faults = more.map((rule) => ({ place: 'leaf', subject: subjectText(leaf), rule }))
  return {
    ...result,
    valid: result.valid && more.length === 0,
    faults: [...result.faults, ...faults],
  }
}

function ruleFaults(leaf: CertificateFacts, role: 'client' | 'server'): string[] {
  const roles = role === 'client' ? (['agent', 'caller'] as const) : (['gateway'] as const)
  const broken = leafFaults(leaf)
  if (broken.length > 0) return broken
  try {
    judgeLeaf(leaf.der, { trustDomain: undefined, roles })
    return []
  } catch (error) {
    if (error instanceof PosternError) return [error.rawMessage]
    throw error
  }
}

interface VerifyResult {
  readonly valid: boolean
  /** Leaf first. */
  readonly path: readonly { subject: string; serial: string; notAfter: string }[]
  readonly faults: readonly { place: string; subject?: string; rule: string }[]
}

function resultOf({ isValid, path, faults }: PathVerdict): VerifyResult {
  return {
    valid: isValid,
    path: path.map((certificate) => ({
      subject: subjectText(certificate),
      serial: certificate.serial.toString('hex'),
      notAfter: new Date(certificate.notAfterMs).toISOString(),
    })),
    faults: faults.map(({ place, certificate, text }) => ({
      place,
      subject: subjectText(certificate),
      rule: text,
    })),
  }
}

function show(result: VerifyResult, { json }: VerifyArguments, output: Output): void {
  if (json) {
    output.result(JSON.stringify(result, null, 2))
    return
  }
  const trail = result.path.map(({ subject }) => printable(subject)).join('\n  issued by ')
  if (result.valid) {
    output.result(`valid\n  ${trail}`)
    return
  }
  const rows = result.faults.map(({ place, subject = '', rule }) => [place, subject, rule])
  const count = rows.length === 1 ? 'one rule is' : `${String(rows.length)} rules are`
  output.result(`not valid: ${count} broken\n${table(['PLACE', 'SUBJECT', 'RULE'], rows)}`)
}

/** Formats the subject of a certificate for people. */
export function subjectText({ der }: CertificateFacts): string {
  try {
    return new X509Certificate(der).subject.replaceAll('\n', ', ')
  } catch {
    // Others of its fields are shown all the same.
    return '(unreadable)'
  }
}

/** @throws USAGE */
function parseTime(text: string): number {
  if (EPOCH_SECONDS.test(text)) return Number(text) * 1000
  const ms = ISO_TIME.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(ms)) return ms
  throw new PosternError(
    'USAGE',
    `--time ${JSON.stringify(text)} is neither ISO 8601 with a zone nor seconds`,
  )
}
