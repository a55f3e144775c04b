import type { DescService } from '@bufbuild/protobuf'
import { AgentControl } from '../../gen/postern/v1/agent_control_pb.js'
import type { Client } from '../../rpc/typed.ts'
import { callLocal } from '../../tunnel/local-rpc.ts'
import type { Surroundings } from '../program/program.ts'

/** The longest that an answer may take which only looks, in ms. */
export const ASK_MS = 5000

/** Calls the daemon behind a socket. @throws its own errors by their codes, DAEMON_NOT_RUNNING */
export async function askDaemon<S extends DescService, T>(
  service: S,
  path: string,
  surroundings: Surroundings,
  act: (client: Client<S>) => Promise<T>,
): Promise<T> {
  return await callLocal(service, path, surroundings.ambient('error', 'operator'), act)
}

/** Calls the agent behind a socket. The rest as askDaemon. */
export async function askAgent<T>(
  path: string,
  surroundings: Surroundings,
  act: (client: Client<typeof AgentControl>) => Promise<T>,
): Promise<T> {
  return await askDaemon(AgentControl, path, surroundings, act)
}
