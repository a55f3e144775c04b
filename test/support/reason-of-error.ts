import type { RpcError } from '../../src/client.ts'
import { noteText } from './seen.ts'

/** What a caller is told of an error, noted for the list of codes that tests provoke. */
export function reasonOfError(error: unknown): string {
  const { rawMessage } = error as RpcError
  noteText(rawMessage)
  return rawMessage
}
