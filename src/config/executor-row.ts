import type { ExecutorRow } from '../dataplane/executor-row.ts'
import { backendUrl } from './backend-url.ts'
import { choiceField, listField, nameField, trustFields, within, type Row } from './row-fields.ts'
import { parseBytes, parseDuration, rowFields } from './setting.ts'

const FIELDS = [
  ...['name', 'type', 'url', 'plaintext', 'caFile', 'certificateFile', 'keyFile', 'tokenFile'],
  ...['images', 'digests', 'literalMax', 'timeout'],
]
const IMAGE = /^[a-z0-9](?:[a-z0-9.-]*)(?::\d+)?\/(?:[a-z0-9][a-z0-9._/-]*)?\*?$/
const KIB = 1024

/** Reads one row of `executors`. Throws a plain Error for the loader to place. */
export function readExecutor(row: Row): ExecutorRow {
  rowFields(row, FIELDS)
  const name = nameField(row)
  try {
    const images = listField(row, 'images', IMAGE)
    if (images.length === 0)
      throw new Error(
        'images must list the repositories whose images may run, such as registry.internal/team/*',
      )
    const literal = parseBytes(row.literalMax ?? '1KiB')
    return {
      ...{ name, images, url: backendUrl(row), ...trustFields(row) },
      type: choiceField(row, 'type', ['http', 'grpc'], 'http'),
      needsDigest: choiceField(row, 'digests', ['optional', 'required'], 'optional') === 'required',
      literalBytesMax: within(literal, 0, 4 * KIB, 'literalMax', '0B to 4KiB'),
      timeoutMs: within(parseDuration(row.timeout ?? '30s'), 1000, 600_000, 'timeout', '1s to 10m'),
    }
  } catch (error) {
    throw new Error(`executor ${name}: ${(error as Error).message}`, { cause: error })
  }
}

/** Formats the row of an executor for display. */
export function showExecutor({ url, ...row }: ExecutorRow): object {
  return { ...row, url: url.href }
}
