import { expect } from 'chai'
import { PosternError, type ErrorCode } from '../../src/base/errors.ts'
import { noteText } from './seen.ts'

/** Runs what must throw, and returns the error after a look at its code. */
export function codeOf(act: () => unknown, code: ErrorCode): PosternError {
  let error: unknown
  try {
    act()
  } catch (thrown) {
    error = thrown
  }
  return judged(error, code)
}

/** The same for a promise. */
export async function rejection(promise: Promise<unknown>, code: ErrorCode): Promise<PosternError> {
  return judged(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
    code,
  )
}

function judged(error: unknown, code: ErrorCode): PosternError {
  expect(error).to.be.instanceOf(PosternError)
  noteText(code)
  expect((error as PosternError).code, (error as PosternError).message).to.equal(code)
  return error as PosternError
}
