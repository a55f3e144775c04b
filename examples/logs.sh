#!/usr/bin/env bash
# A log is told line by line, from where the last tail ended, and as the customer redacts it.
. "$(dirname "$0")/call.sh"
first=$(call Logs/Tail '{"source":"tasks","labels":{"task":"train"},"last":1}' --stream | sed -n 1p)
echo "first: $first"
cursor=$(field .cursor <<<"$first")
echo "epoch 4 token=new" >>.quickstart/logs/train.log
call Logs/Tail "{\"source\":\"tasks\",\"labels\":{\"task\":\"train\"},\"cursor\":\"$cursor\"}" --stream
