import type { ErrorCode } from '../../src/base/errors.ts'
import { noteText } from './seen.ts'
import type { MuxStream, StreamSink } from '../../src/mux/stream.ts'

/** Writes down what a stream's owner is told. Consumes data at once unless told not to. */
export class RecordingSink implements StreamSink {
  readonly events: string[] = []
  readonly chunks: Buffer[] = []
  trailer: Buffer | undefined
  consumes = true

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  onAccept(): void {
    this.events.push('accept')
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    this.chunks.push(Buffer.from(bytes))
    if (this.consumes) stream.consume(bytes.length)
  }

  onEnd(): void {
    this.events.push('end')
  }

  onTrailer(_stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    this.trailer = Buffer.from(bytes.subarray(start, end))
    this.events.push(`trailer ${this.trailer.toString('latin1')}`)
  }

  onRefuse(_stream: MuxStream, code: ErrorCode, canRetry: boolean, text: string): void {
    noteText(code)
    this.events.push(`refuse ${code}${canRetry ? ' retry' : ''}${text === '' ? '' : ` ${text}`}`)
  }

  onReset(_stream: MuxStream, code: ErrorCode): void {
    noteText(code)
    this.events.push(`reset ${code}`)
  }

  onWritable(): void {
    this.events.push('writable')
  }

  onStop(_stream: MuxStream, code: ErrorCode): void {
    noteText(code)
    this.events.push(`stop ${code}`)
  }
}
