#!/usr/bin/env bash
# A query is judged and written anew before Prometheus is asked; a metric that the customer does not list is refused.
. "$(dirname "$0")/call.sh"
call Metrics/Query '{"source":"local","query":"sum(up)"}'
call Metrics/Query '{"source":"local","query":"node_memory_MemFree_bytes"}' || echo "refused, as it should be"
