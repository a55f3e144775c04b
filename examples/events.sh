#!/usr/bin/env bash
# A workload tells what happened to its run; the control plane reads it from a cursor.
. "$(dirname "$0")/call.sh"
run="r-$(date +%s)"
curl -sS --fail --unix-socket .quickstart/events.sock http://localhost/postern.dataplane.v1.Events/Post \
  -H 'content-type: application/json' -d '{"events":[{"attempt":1,"phase":"PHASE_FAILED","failure":{"kind":"ValueError","text":"bad row"},
  "action":{"organisation":"acme","project":"billing","domain":"dev","run":"'"$run"'","action":"train"}}]}'
for _ in 1 2 3 4 5 6 7 8 9 10; do
  kept=$(gateway call - postern.v1.Runs/List --data "{\"cluster\":\"dev\",\"run\":\"acme/billing/dev/$run\"}" --json)
  if grep -q ValueError <<<"$kept"; then echo "kept: $kept"; exit 0; fi
  sleep 1
done
echo "the gateway has kept nothing" >&2
exit 1
