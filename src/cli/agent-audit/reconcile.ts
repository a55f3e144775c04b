import { createReadStream } from 'node:fs'
import { accessOf, LOG_FORMS } from '../../audit/access-log.ts'
import { Reconciling } from '../../audit/reconcile.ts'
import { PosternError } from '../../base/errors.ts'
import { command, JSON_OPTION } from '../program/program.ts'
import { placeOf, PROOF_OPTIONS, proofOf, readWhole, RECORD_OPTIONS } from './place.ts'

const SHOWN_MAX = 20
const UNEXPLAINED = 1

/** `agent audit reconcile`: the store's own log held against the record. */
export const auditReconcile = command({
  path: 'reconcile',
  describe:
    'Hold an access log of an object store against the record: each use of a presigned URL must be of one that the agent has handed out, in its time. Exit 0: each is, 1: some are not, or the record is not whole.',
  options: {
    'access-log': {
      type: 'strings',
      describe:
        'Files of the access log: S3 server access logs, GCS usage logs (CSV), resource logs of Azure (JSON lines).',
    },
    form: { type: 'string', default: 's3', describe: `Their form: ${LOG_FORMS.join(', ')}.` },
    ...RECORD_OPTIONS,
    ...PROOF_OPTIONS,
    ...JSON_OPTION,
  },
  examples: [
    ['$0 audit reconcile --access-log 2026-11-27-08-*', 'an hour of the store against the record'],
  ],
  run: async (args, surroundings) => {
    const form = LOG_FORMS.find((one) => one === args.form)
    if (form === undefined)
      throw new PosternError('USAGE', `--form must be one of ${LOG_FORMS.join(', ')}`)
    const files = args['access-log']
    if (files.length === 0) throw new PosternError('USAGE', 'name the --access-log')
    const place = placeOf(args, surroundings)
    const reconciling = new Reconciling()
    const proof = proofOf(args, place)
    const { clock } = surroundings.ambient('error', 'audit')
    const { findings } = await readWhole(place.directory, proof, clock, (line) => {
      reconciling.line(line)
    })
    for (const file of files)
      for await (const line of linesOf(file)) {
        const access = accessOf(line, form)
        if (access !== undefined) reconciling.access(access)
      }
    const found = reconciling.end()
    const { output } = surroundings
    const isWhole = findings.length === 0
    if (args.json) output.result(JSON.stringify({ recordWhole: isWhole, ...found }, null, 2))
    else {
      const { minted, used, accesses, refused, unexplained } = found
      for (const { atMs, verb, keyHash } of unexplained.slice(0, SHOWN_MAX))
        output.result(
          `${new Date(atMs).toISOString()} ${verb} of ${keyHash}: by a presigned URL that is not in the record`,
        )
      output.result(`handed out   ${String(minted)}, of which ${String(used)} were used`)
      output.result(
        `in the log   ${String(accesses)} uses, ${String(refused)} refused by the store`,
      )
      output.result(`unexplained  ${String(unexplained.length)}`)
      output.result(`record       ${isWhole ? 'whole' : 'NOT WHOLE: see agent audit verify'}`)
    }
    return isWhole && found.unexplained.length === 0 ? 0 : UNEXPLAINED
  },
})

async function* linesOf(path: string): AsyncGenerator<string, undefined> {
  try {
    const { createInterface } = await import('node:readline')
    yield* createInterface({ input: createReadStream(path), crlfDelay: Infinity })
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}
