import type { MuxStream, StreamSink } from '../src/mux/stream.ts'

/** Whatever opens forwards. */
interface Forwards {
  forward(service: string, sink: StreamSink): MuxStream
}

/** Reads one byte stream for a while. */
export async function drinkFor(
  calls: Forwards,
  untilMs: number,
  took: (bytes: number) => void,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (): void => {
      reject(new Error('the stream ended'))
    }
    const ignore = (): void => undefined
    const onData = (stream: MuxStream, bytes: Buffer): void => {
      took(bytes.length)
      stream.consume(bytes.length)
      if (performance.now() < untilMs) return
      stream.reset('CANCELLED')
      resolve()
    }
    calls.forward('bench-source', {
      onAccept: ignore,
      onData,
      onEnd: fail,
      onTrailer: fail,
      onRefuse: fail,
      onReset: fail,
      onStop: fail,
      onWritable: ignore,
    })
  })
}
