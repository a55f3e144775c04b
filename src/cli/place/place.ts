export { ASK_MS, askAgent, askDaemon } from './daemon-call.ts'
export { locate, type Located, PLACE_OPTIONS } from './identity.ts'
export { messageJson } from './message-json.ts'
export { SOCKET_OPTIONS, type SocketArguments, socketPath, statePath } from './socket.ts'
