import { PosternError } from '../base/errors.ts'

/** Rejects after a time, or as soon as the signal is aborted: to be raced with what has neither. Nobody need hear of it. @throws BACKEND_UNREACHABLE */
export function within(msMax: number, signal?: AbortSignal): Promise<never> {
  const timer = AbortSignal.timeout(msMax)
  const ended = signal === undefined ? timer : AbortSignal.any([signal, timer])
  const late = new Promise<never>((_resolve, reject) => {
    const end = (): void => {
      reject(new PosternError('BACKEND_UNREACHABLE', 'no answer in time'))
    }
    if (ended.aborted) end()
    else ended.addEventListener('abort', end, { once: true })
  })
  late.catch(() => undefined)
  return late
}
