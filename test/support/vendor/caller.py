"""Calls acme.v1.Jobs by gRPC for Python, with nothing but what reflection tells: one line of JSON for each thing that it sees.

Usage: caller.py ADDRESS CA CERTIFICATE KEY CLUSTER
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

address, ca, certificate, key, cluster = sys.argv[1:]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def say(**what):
    print(json.dumps(what), flush=True)


class ToCluster(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Names the cluster with every call."""

    def _named(self, details):
        metadata = list(details.metadata or []) + [("postern-cluster", cluster)]
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, go_on, details, request):
        return go_on(self._named(details), request)

    def intercept_unary_stream(self, go_on, details, request):
        return go_on(self._named(details), request)

    def intercept_stream_unary(self, go_on, details, requests):
        return go_on(self._named(details), requests)

    def intercept_stream_stream(self, go_on, details, requests):
        return go_on(self._named(details), requests)


credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(certificate))
channel = grpc.intercept_channel(grpc.secure_channel(address, credentials), ToCluster())
database = ProtoReflectionDescriptorDatabase(channel)
say(services=sorted(database.get_services()))
pool = descriptor_pool.DescriptorPool(database)
service = pool.FindServiceByName("acme.v1.Jobs")
Job = message_factory.GetMessageClass(pool.FindMessageTypeByName("acme.v1.Job"))
say(methods=sorted(method.name for method in service.methods))
names = {"request_serializer": Job.SerializeToString, "response_deserializer": Job.FromString}

get = channel.unary_unary("/acme.v1.Jobs/Get", **names)
answer, call = get.with_call(Job(name="one"), metadata=[("tenant", "acme")], timeout=30)
say(
    get=answer.name,
    head=dict(call.initial_metadata()).get("served-by"),
    tail=dict(call.trailing_metadata()).get("cost"),
)
watch = channel.unary_stream("/acme.v1.Jobs/Watch", **names)
say(watch=[one.name for one in watch(Job(name="many"), timeout=30)])
put = channel.stream_unary("/acme.v1.Jobs/Put", **names)
say(put=put(iter([Job(name="a"), Job(size=7)]), timeout=30).size)
chat = channel.stream_stream("/acme.v1.Jobs/Chat", **names)
say(chat=[one.name for one in chat(iter([Job(name="x"), Job(name="y")]), timeout=30)])
for name, timeout in (("fail", 30), ("never", 0.3)):
    try:
        get(Job(name=name), timeout=timeout)
    except grpc.RpcError as error:
        say(failed=name, code=error.code().name)
