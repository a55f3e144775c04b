export { locate, type Located, withPlace } from './identity.ts'
export { SOCKET_OPTIONS, type SocketArguments, socketPath, statePath } from './socket.ts'
