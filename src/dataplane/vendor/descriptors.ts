import { readFileSync } from 'node:fs'
import { createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema, type FileDescriptorSet } from '@bufbuild/protobuf/wkt'
import { PosternError } from '../../base/errors.ts'
import { file_postern_v1_data } from '../../gen/postern/v1/data_pb.js'

const BYTES_MAX = 4 * 1024 * 1024

/** What a descriptor set describes. */
export interface Descriptors {
  readonly registry: FileRegistry
  readonly files: FileDescriptorSet['file']
  /** Of the file. */
  readonly byteCount: number
}

/** Reads a descriptor set that holds all that it imports. @throws CONFIG_INVALID */
export function readDescriptors(path: string): Descriptors {
  const fault = (why: string, cause?: unknown): PosternError =>
    new PosternError('CONFIG_INVALID', `descriptors ${path}: ${why}`, { path }, { cause })
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw fault((error as Error).message, error)
  }
  if (bytes.length > BYTES_MAX) throw fault(`it is larger than ${String(BYTES_MAX)} bytes`)
  if (bytes.length === 0) throw fault('it is empty')
  try {
    const set = fromBinary(FileDescriptorSetSchema, bytes)
    // The option's own file is ours, so that what it says is read as we mean it.
    const own = file_postern_v1_data.proto
    const file = set.file.map((one) => (one.name === own.name ? own : one))
    return { registry: createFileRegistry({ ...set, file }), files: file, byteCount: bytes.length }
  } catch (error) {
    const advice = 'make it by protoc --include_imports --descriptor_set_out=FILE'
    throw fault(`it is no whole descriptor set (${(error as Error).message}): ${advice}`, error)
  }
}
