#!/usr/bin/env bash
# A definition goes to an executor once, however often it is sent; images are of the customer's list.
. "$(dirname "$0")/call.sh"
attempt='"executor":"local","attempt":1,"action":{"organisation":"acme","project":"billing","domain":"dev","run":"r-18","action":"train"}'
task='{"name":"train","version":"3","image":"registry.internal/team/train:3","inputs":[{"name":"rows","uri":"s3://acme/runs/18/rows"}]}'
call Tasks/Dispatch "{$attempt,\"task\":$task}"
call Tasks/Dispatch "{$attempt,\"task\":$task}"
call Tasks/Status "{$attempt}"
call Tasks/Dispatch "{${attempt/r-18/r-19},\"task\":{\"name\":\"x\",\"image\":\"docker.io/somebody/else\"}}" || echo "refused, as it should be"
