import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt'
import { expect } from 'chai'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { scanDescriptors } from '../../src/gateway/api/descriptor-scan.ts'
import { jsonCodec, describedMethod } from '../../src/gateway/api/json-codec.ts'
import { jsonSize } from '../../src/gateway/api/json-size.ts'
import type { RpcError } from '../../src/rpc/status.ts'
import { codeOf } from '../support/code-of.ts'
import { writeDescriptors } from '../support/vendor/acme-server.ts'

/** A set with one file, whose messages are nested so deep, so many, with values of such a name. */
function setWith({ messages = 1, depth = 0, name = 'A' }): Uint8Array {
  const item = (label: string) => ({
    name: label,
    number: 1,
    type: Type.ENUM,
    label: Label.REPEATED,
    typeName: '.x.E',
    jsonName: 'e',
  })
  let nested: object[] = []
  for (let at = 0; at < depth; at++) nested = [{ name: `N${String(at)}`, nestedType: nested }]
  const all = Array.from({ length: messages }, (_, at) => ({
    name: `M${String(at)}`,
    field: [item('e')],
    nestedType: nested,
  }))
  const method = { name: 'Get', inputType: '.x.M0', outputType: '.x.M0' }
  const file = {
    ...{ name: 'x.proto', package: 'x', syntax: 'proto3', messageType: all },
    enumType: [{ name: 'E', value: [{ name, number: 0 }] }],
    service: [{ name: 'S', method: [method] }],
  }
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] }))
}

describe('descriptions that agents tell', () => {
  it('are taken as protoc writes them', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'postern-pb-')), 'acme.pb')
    writeDescriptors(path)
    const bytes = readFileSync(path)
    expect(scanDescriptors(bytes)).to.be.greaterThan(bytes.length)
    execFileSync('rm', [path])
  })

  for (const [what, said] of [
    ['many', { messages: 20_000 }],
    ['deep', { depth: 40 }],
    ['with a name that is long', { name: 'A'.repeat(256) }],
  ] as const)
    it(`are refused where they are too ${what}, before they are read`, () => {
      codeOf(() => scanDescriptors(setWith(said)), 'MALFORMED_CALL')
    })

  it('are refused where they are none', () => {
    for (const hex of ['ff', '0aff', '0a020a', '0a80808080808080808080'])
      codeOf(() => scanDescriptors(Buffer.from(hex, 'hex')), 'MALFORMED_CALL')
  })

  it('make no answer of theirs grow without bound: a byte may stand for a long name', () => {
    const name = `E${'A'.repeat(254)}`
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, setWith({ name })))
    const method = describedMethod(registry, 'x.S/Get')
    if (method === undefined) throw new Error('no method')
    const packed = (count: number): Buffer => {
      const length = Buffer.from([0x0a, (count & 0x7f) | 0x80, count >> 7])
      return Buffer.concat([length, Buffer.alloc(count)])
    }
    const codec = jsonCodec(method, registry, 4096)
    const few = codec.response(packed(10)).toString()
    expect(few).to.include(name)
    let error: unknown
    try {
      codec.response(packed(8000))
    } catch (thrown) {
      error = thrown
    }
    expect((error as RpcError).code).to.equal('MESSAGE_TOO_LARGE')
    const message = fromBinary(method.output, packed(10))
    const size = jsonSize(method.output, message, 1 << 20)
    expect(size).to.be.at.least(few.length)
    expect(jsonSize(method.output, message, 1000)).to.equal(Infinity)
  })
})
