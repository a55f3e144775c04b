import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { expect } from 'chai'
import {
  DeleteSecretRequestSchema,
  PutSecretRequestSchema,
} from '../../src/gen/postern/dataplane/v1/secrets_pb.js'
import { encodePadded } from '../../src/rpc/padding.ts'

describe('padding', () => {
  it('makes a message as long as its step, whatever it holds', () => {
    for (let length = 0; length < 9000; length++) {
      const value = Buffer.alloc(length, 1)
      const message = create(PutSecretRequestSchema, { backend: 'b', name: 'n', value })
      const bytes = encodePadded(PutSecretRequestSchema, message)
      expect([512, 1024, 2048, 4096, 8192, 16_384], String(length)).to.include(bytes.length)
      const least = toBinary(PutSecretRequestSchema, message).length
      expect(bytes.length, String(length)).to.be.within(least, 4 * Math.max(256, least))
      if (length % 500 === 0)
        expect(Buffer.from(fromBinary(PutSecretRequestSchema, bytes).value).equals(value)).to.equal(
          true,
        )
    }
  })

  it('is left as it is where the caller has filled it, and where there is none', () => {
    const own = create(PutSecretRequestSchema, { name: 'n', padding: Buffer.alloc(3) })
    expect(encodePadded(PutSecretRequestSchema, own)).to.deep.equal(
      toBinary(PutSecretRequestSchema, own),
    )
    const none = create(DeleteSecretRequestSchema, { name: 'n' })
    expect(encodePadded(DeleteSecretRequestSchema, none)).to.deep.equal(
      toBinary(DeleteSecretRequestSchema, none),
    )
  })
})
