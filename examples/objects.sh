#!/usr/bin/env bash
# An object is written and read by presigned URLs: only these cross, the bytes go direct.
. "$(dirname "$0")/call.sh"
object='"store":"artifacts","dataType":"DATA_TYPE_TASK_IO","key":"runs/17/example.txt"'
text="written at $(date +%s)"
md5=$(printf %s "$text" | openssl md5 -binary | base64)
up=$(call ObjectStore/CreateUploadUrl "{$object,\"length\":${#text},\"checksum\":{\"md5\":\"$md5\"},\"contentType\":\"text/plain\"}" 2>/dev/null || true)
if [ -n "$up" ]; then
  headers=$(field '.urls[0].headers' <<<"$up" >/dev/null && node -p 'Object.entries(JSON.parse(fs.readFileSync(0)).urls[0].headers).map(([name, value]) => `-H\n${name}: ${value}`).join("\n")' <<<"$up")
  mapfile -t flags <<<"$headers"
  printf %s "$text" | curl -sS --fail --cacert certs-dev/bundle.pem -X PUT "${flags[@]}" --data-binary @- "$(field '.urls[0].url' <<<"$up")"
else
  echo "it is there already: a store says overwrite: allowed, or refuses"
fi
down=$(call ObjectStore/CreateDownloadUrl "{$object}")
echo "read: $(curl -sS --fail --cacert certs-dev/bundle.pem "$(field .url.url <<<"$down")")"
agent lockdown --help >/dev/null && echo "agent lockdown would list this URL, good until $(field .url.expiresAt <<<"$down")"
