import type { Guard } from '../../guard/guard.ts'
import type { CallOptions, RpcChannel } from '../../rpc/channel.ts'
import { RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'

/** Calls of the agent's own to a gateway: each has a permit, and is bounded and counted. There is no other way out. */
export class OwnChannel implements Pick<RpcChannel, 'unary'> {
  readonly #guard: Guard
  readonly #channel: RpcChannel
  readonly #type: 'own' | 'run-metadata'

  constructor(guard: Guard, connection: RpcConnection, type: 'own' | 'run-metadata' = 'own') {
    this.#type = type
    this.#guard = guard
    this.#channel = connection.channel()
  }

  /** One request, one response. @throws RpcError */
  async unary(method: string, request: Uint8Array, options?: CallOptions): Promise<Buffer> {
    const permit = this.#guard.permitOwn(method, this.#type)
    try {
      if (request.length > permit.messageBytesMax)
        throw rpcErrorOfCode('MESSAGE_TOO_LARGE', `${method} would send more than it may`, true)
      permit.pass('out', request.length)
      const answer = await this.#channel.unary(method, request, options)
      permit.pass('in', answer.length)
      permit.ended('OK')
      return answer
    } catch (error) {
      permit.ended(error instanceof RpcError ? error.status : 'INTERNAL')
      throw error
    }
  }
}
