export { dialFront, type FrontOptions } from './front-dial.ts'
export { Inlet, type OwnerOf } from './inlet.ts'
export { MESSAGE_BYTES_MAX } from './front-stream.ts'
export { readServiceToken, type ServiceToken } from './service-token.ts'
