import type { MessageInitShape } from '@bufbuild/protobuf'
import { Cluster, type DescribeResponseSchema } from '../gen/postern/dataplane/v1/cluster_pb.js'
import type { Offer } from '../rpc/service.ts'
import { offersOf } from '../rpc/typed.ts'

/** What an agent says of itself and its data plane. */
export type ClusterDescription = MessageInitShape<typeof DescribeResponseSchema>

/** postern.dataplane.v1.Cluster: the record of a cluster, from the agent itself. */
export function clusterOffers(describe: () => ClusterDescription): Offer[] {
  return offersOf(Cluster, { describe })
}
