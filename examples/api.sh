#!/usr/bin/env bash
# The same call as any program makes it that speaks HTTP: Connect in JSON, and a list of what the cluster offers.
. "$(dirname "$0")/call.sh"
port=$(node -p 'JSON.parse(fs.readFileSync(".quickstart/gateway.yaml")).api.listen.split(":")[1]')
connect() {
  curl --silent --cacert certs-dev/bundle.pem --cert certs-dev/caller.pem --key certs-dev/caller.key \
    -H 'content-type: application/json' -H "postern-cluster: $1" -d "$3" "https://localhost:$port/$2"
  echo
}
connect dev grpc.health.v1.Health/Check '{}'
connect - postern.v1.Gateway/GetCluster '{"name":"dev"}' | field '.tunnels[0].methods.map(({ name }) => name).join("\n")'
echo "a method that no rule allows is refused, as it should be: $(connect dev postern.v1.Diagnostics/Echo '{}')"
