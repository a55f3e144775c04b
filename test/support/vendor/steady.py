"""Calls without a pause by gRPC for Python, over several gateways, until its standard input ends; then says what came of it.

Usage: steady.py PORT,PORT... CA CERTIFICATE KEY CLUSTER
"""

import json
import sys
import threading

import grpc

ports, ca, certificate, key, cluster = sys.argv[1:]


def read(path):
    with open(path, "rb") as file:
        return file.read()


# Calls that no gateway has begun are UNAVAILABLE: gRPC's own retries are for them.
SERVICE = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "waitForReady": True,
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
OPTIONS = [
    ("grpc.ssl_target_name_override", "localhost"),
    ("grpc.default_authority", "localhost"),
    ("grpc.service_config", json.dumps(SERVICE)),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports.split(","))
credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(certificate))
channel = grpc.secure_channel(target, credentials, options=OPTIONS)
echo = channel.unary_unary("/postern.v1.Diagnostics/Echo")
over = threading.Event()
calls = [0]
failures = []


def work():
    while not over.is_set():
        try:
            echo(b"", timeout=20, metadata=[("postern-cluster", cluster)])
            calls[0] += 1
        except grpc.RpcError as error:
            failures.append(f"{error.code().name}: {error.details()}")


workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
print("calling", flush=True)
sys.stdin.read()
over.set()
for worker in workers:
    worker.join()
print(json.dumps({"calls": calls[0], "failures": failures}), flush=True)
