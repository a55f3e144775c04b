import { expect } from 'chai'
import { createPublicKey } from 'node:crypto'
import { verifyAws, verifyGcs, type Seen } from '../support/objects/verify-v4.ts'

/** docs.aws.amazon.com, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)": its example. */
const AWS_EXAMPLE =
  '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404'
const AWS_KEYS = {
  AKIAIOSFODNN7EXAMPLE: { secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
}

/** Public half of the account of github.com/googleapis/conformance-tests, storage/v1; the URLs are of its v4_signatures.json. */
const GCS_EXAMPLES = {
  email: 'test-iam-credentials@dummy-project-id.iam.gserviceaccount.com',
  key: 'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArD8zIqyKLbX0Nq8o0Jj1qHEhHhqO3+0OP7TEFx5Vxc6PdwBoFNrfnJRI/S+ZaDYS1avr5Pqpp8g8+UNOMvI1VsjGM8xjTaxkVv8mmKp6pSmQstTt25pzY1exA2wv4xNWSwWNFNx2kh35+kvTQ/DF3YA9P7pUU1sKur1PP8OoubWLFO59iy5UE5dX0O/3pjvZ2HAhSXsx2VWtB5nlrHR8FrKJNLJMEGEDSMz9yRfQaUeYCU9oDYHuiqKQ3rCXi6C82l+3FJw5/ggJ5y7iw8MErCFSslcYQRbBVz6ZYKWkEcJhs8BG3/16bfaqNusNlDIJ99I7DmipUngF/HEulYhfrQIDAQAB',
  simpleGet:
    '/test-bucket/test-object?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=test-iam-credentials%40dummy-project-id.iam.gserviceaccount.com%2F20190201%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date=20190201T090000Z&X-Goog-Expires=10&X-Goog-SignedHeaders=host&X-Goog-Signature=95e6a13d43a1d1962e667f17397f2b80ac9bdd1669210d5e08e0135df9dff4e56113485dbe429ca2266487b9d1796ebdee2d7cf682a6ef3bb9fbb4c351686fba90d7b621cf1c4eb1fdf126460dd25fa0837dfdde0a9fd98662ce60844c458448fb2b352c203d9969cb74efa4bdb742287744a4f2308afa4af0e0773f55e32e92973619249214b97283b2daa14195244444e33f938138d1e5f561088ce8011f4986dda33a556412594db7c12fc40e1ff3f1bedeb7a42f5bcda0b9567f17f65855f65071fabb88ea12371877f3f77f10e1466fff6ff6973b74a933322ff0949ce357e20abe96c3dd5cfab42c9c83e740a4d32b9e11e146f0eb3404d2e975896f74',
  resumablePost:
    '/test-bucket/test-object?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=test-iam-credentials%40dummy-project-id.iam.gserviceaccount.com%2F20190201%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date=20190201T090000Z&X-Goog-Expires=10&X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=4a6d39b23343cedf4c30782aed4b384001828c79ffa3a080a481ea01a640dea0a0ceb58d67a12cef3b243c3f036bb3799c6ee88e8db3eaf7d0bdd4b70a228d0736e07eaa1ee076aff5c6ce09dff1f1f03a0d8ead0d2893408dd3604fdabff553aa6d7af2da67cdba6790006a70240f96717b98f1a6ccb24f00940749599be7ef72aaa5358db63ddd54b2de9e2d6d6a586eac4fe25f36d86fc6ab150418e9c6fa01b732cded226c6d62fc95b72473a4cc55a8257482583fe66d9ab6ede909eb41516a8690946c3e87b0f2052eb0e97e012a14b2f721c42e6e19b8a1cd5658ea36264f10b9b1ada66b8ed5bf7ed7d1708377ac6e5fe608ae361fb594d2e5b24c54',
}

describe('the judges of signatures that stand-ins for stores have', () => {
  it('agree with the published example of AWS, and with nothing beside it', () => {
    const host = 'examplebucket.s3.amazonaws.com'
    const seen: Seen = {
      method: 'GET',
      target: AWS_EXAMPLE,
      headers: { host },
      body: Buffer.alloc(0),
    }
    const nowMs = Date.UTC(2013, 4, 24, 1)
    expect(verifyAws(seen, AWS_KEYS, 'us-east-1', nowMs)).to.equal(undefined)
    const codes = [
      { ...seen, method: 'HEAD' },
      { ...seen, headers: { host: 'other.s3.amazonaws.com' } },
      { ...seen, target: AWS_EXAMPLE.replace('test.txt', 'tesu.txt') },
      { ...seen, target: AWS_EXAMPLE.replace('Expires=86400', 'Expires=86401') },
      { ...seen, headers: { host, 'x-amz-acl': 'public-read' } },
    ].map((one) => verifyAws(one, AWS_KEYS, 'us-east-1', nowMs)?.status)
    expect(codes).to.deep.equal([403, 403, 403, 403, 403])
    expect(verifyAws(seen, AWS_KEYS, 'us-east-1', nowMs + 86_400_000)?.code).to.equal(
      'AccessDenied',
    )
    expect(verifyAws(seen, AWS_KEYS, 'eu-west-1', nowMs)?.status).to.equal(400)
  })

  it('agree with the published examples of GCS, and with nothing beside them', () => {
    const key = createPublicKey({
      key: Buffer.from(GCS_EXAMPLES.key, 'base64'),
      format: 'der',
      type: 'spki',
    })
    const account = { email: GCS_EXAMPLES.email, key }
    const nowMs = Date.UTC(2019, 1, 1, 9, 0, 5)
    const host = 'storage.googleapis.com'
    const of = (method: string, target: string, more = {}): Seen => ({
      ...{ method, target, headers: { host, ...more }, body: Buffer.alloc(0) },
    })
    const { simpleGet, resumablePost } = GCS_EXAMPLES
    const resumable = { 'x-goog-resumable': 'start' }
    const good = [of('GET', simpleGet), of('HEAD', simpleGet), of('POST', resumablePost, resumable)]
    for (const seen of good) expect(verifyGcs(seen, account, nowMs)).to.equal(undefined)
    const bad = [
      of('PUT', simpleGet),
      of('POST', resumablePost),
      of('GET', simpleGet.replace('test-object', 'test-objecu')),
      of('GET', simpleGet, { 'x-goog-acl': 'x' }),
    ]
    for (const seen of bad) expect(verifyGcs(seen, account, nowMs)).to.not.equal(undefined)
    expect(verifyGcs(of('GET', simpleGet), account, nowMs + 10_000)?.code).to.equal('ExpiredToken')
  })
})
