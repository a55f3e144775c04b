#!/usr/bin/env bash
# A secret is written, listed and deleted; no call reads it back, and the agent could not: the file is encrypted to another key.
. "$(dirname "$0")/call.sh"
secret='"backend":"local","scope":{"organisation":"acme","domain":"dev","project":"billing"},"name":"DB_PASSWORD"'
# On standard input, so that it stands in no list of processes.
printf '{%s,"value":"%s"}' "$secret" "$(printf %s 'correct horse' | base64)" | call Secrets/Put -
echo "listed: $(call Secrets/List '{"backend":"local","scope":{"organisation":"acme","domain":"dev","project":"billing"}}')"
echo "on disk: $(head -1 .quickstart/secrets/acme/dev/billing/DB_PASSWORD.age)"
call Secrets/Delete "{$secret}"
