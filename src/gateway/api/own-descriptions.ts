import { create, createFileRegistry, type DescFile } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema, type FileDescriptorProto } from '@bufbuild/protobuf/wkt'
import { file_grpc_health_v1_health } from '../../gen/grpc/health/v1/health_pb.js'
import { file_postern_dataplane_v1_cluster } from '../../gen/postern/dataplane/v1/cluster_pb.js'
import { file_postern_dataplane_v1_logs } from '../../gen/postern/dataplane/v1/logs_pb.js'
import { file_postern_dataplane_v1_metrics } from '../../gen/postern/dataplane/v1/metrics_pb.js'
import { file_postern_dataplane_v1_object_store } from '../../gen/postern/dataplane/v1/object_store_pb.js'
import { file_postern_dataplane_v1_secrets } from '../../gen/postern/dataplane/v1/secrets_pb.js'
import { file_postern_dataplane_v1_tasks } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import { file_grpc_reflection_v1_reflection } from '../../gen/grpc/reflection/v1/reflection_pb.js'
import { file_postern_v1_diagnostics } from '../../gen/postern/v1/diagnostics_pb.js'
import { file_postern_v1_gateway } from '../../gen/postern/v1/gateway_pb.js'
import { file_postern_v1_runs } from '../../gen/postern/v1/runs_pb.js'

const FILES: readonly DescFile[] = [
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_postern_v1_diagnostics,
  file_postern_v1_gateway,
  file_postern_v1_runs,
  file_postern_dataplane_v1_cluster,
  file_postern_dataplane_v1_logs,
  file_postern_dataplane_v1_metrics,
  file_postern_dataplane_v1_object_store,
  file_postern_dataplane_v1_secrets,
  file_postern_dataplane_v1_tasks,
]

/** The descriptions of what Postern itself offers to callers. */
export const OWN_DESCRIPTIONS = createFileRegistry(
  create(FileDescriptorSetSchema, { file: withImports(FILES) }),
)

function withImports(files: readonly DescFile[]): FileDescriptorProto[] {
  const all = new Map<string, FileDescriptorProto>()
  const add = ({ proto, dependencies }: DescFile): void => {
    if (all.has(proto.name)) return
    for (const one of dependencies) add(one)
    all.set(proto.name, proto)
  }
  for (const file of files) add(file)
  return [...all.values()]
}
