export { locate, type Located, PLACE_OPTIONS } from './identity.ts'
export { SOCKET_OPTIONS, type SocketArguments, socketPath, statePath } from './socket.ts'
