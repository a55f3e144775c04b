# Read by the examples beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -S .quickstart/agent.sock ] || { echo "start ./scripts/quickstart first, in another terminal" >&2; exit 69; }
PATH=$PWD/node_modules/node/bin:$PATH
agent() { node bin/agent.js "$@" --config .quickstart/agent.yaml; }
gateway() { node bin/gateway.js "$@" --config .quickstart/caller.yaml; }
# The key that the agent seals with: in earnest a customer tells it to the vendor by a way that the gateway is no part of.
pin=$(agent seal show --json | node -p 'JSON.parse(fs.readFileSync(0)).pin')
# call SERVICE/METHOD JSON [FLAGS]: a call that no gateway reads.
call() { local method=$1 data=$2; shift 2; gateway call dev "postern.dataplane.v1.$method" --sealed --pin "$pin" --data "$data" --json "$@"; }
# field EXPRESSION: a part of the JSON on standard input, such as .url.url
field() { node -p "JSON.parse(fs.readFileSync(0))$1"; }
