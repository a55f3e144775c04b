import { command, JSON_OPTION } from '../program/program.ts'
import { placeOf, PROOF_OPTIONS, proofOf, readWhole, RECORD_OPTIONS } from './place.ts'

const NOT_WHOLE = 1

/** `agent audit verify`: whether the record is whole. */
export const auditVerify = command({
  path: 'verify',
  describe:
    'Say whether any line of the record was removed, altered, moved, doubled or cut off, and where; how far signed checkpoints cover it, and how far some that were kept elsewhere. Exit 0: it is whole, 1: it is not. tools/verify_record.py does the same without us.',
  options: { ...RECORD_OPTIONS, ...PROOF_OPTIONS, ...JSON_OPTION },
  run: async (args, surroundings) => {
    const place = placeOf(args, surroundings)
    const { clock } = surroundings.ambient('error', 'audit')
    const verified = await readWhole(place.directory, proofOf(args, place), clock)
    const { findings, lines, first, last, checkpoints, signedTo, anchoredTo, keys } = verified
    const { output } = surroundings
    if (args.json)
      output.result(JSON.stringify({ whole: findings.length === 0, ...verified }, null, 2))
    else {
      for (const { file, line, text } of findings)
        output.result(`${file === '' ? 'the record' : `${file}:${String(line)}`}: ${text}`)
      const rows = [
        ['lines', `${String(lines)}, ${String(first)} to ${String(last)}`],
        ['checkpoints', `${String(checkpoints)}, signed to line ${String(signedTo)}`],
        [
          'anchors',
          anchoredTo === 0
            ? 'none: what a copy elsewhere proves is not known'
            : `to line ${String(anchoredTo)}; ${String(last - anchoredTo)} lines are not proven by one`,
        ],
        ['audit key', keys.join(', ')],
        [
          'record',
          findings.length === 0 ? 'whole' : `NOT WHOLE: ${String(findings.length)} findings`,
        ],
      ]
      for (const [name = '', value = ''] of rows) output.result(`${name.padEnd(12)} ${value}`)
    }
    return findings.length === 0 ? 0 : NOT_WHOLE
  },
})
