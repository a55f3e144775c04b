#!/usr/bin/env bash
# What a cluster is: by its agent's own word, and as the gateway has seen it.
. "$(dirname "$0")/call.sh"
call Cluster/Describe '{}'
gateway clusters list
