# shellcheck shell=bash
# A server on a look-alike of PostgreSQL: noida-db, from PyPI. Needs common.sh, servers.sh and what scripts/verify has.

# start_noida PROGRAM: with a data directory of its own. Sets noida_url.
start_noida() {
  local port
  port=$(free_port)
  "$1" start --data-dir "$scratch/noida" --only postgres --postgres-port "$port" >"$scratch/noida.log" 2>&1 </dev/null &
  pids+=($!)
  await noida-db $! "$port" "$scratch/noida.log"
  noida_url=postgres://postgres@127.0.0.1:$port/postgres
}

# start_on_noida: a server on it, with the table of keys. Sets server_address.
start_on_noida() {
  start_server lookalike <<TOML
[databases.main]
url = "$noida_url"
session_statements = "allow"
pool.max = 2
TOML
}

verify_lookalikes() {
  if ! has python3 || ! python_packages grpcio grpcio-reflection grpcio-status noida-db; then
    skipped lookalikes 'noida-db or grpcio could not be installed (python3 with venv)'
    return
  fi
  scratch=$(mktemp -d)
  if ! "$python/bin/noida-db" version >"$scratch/noida.version" 2>/dev/null; then
    skipped lookalikes 'noida-db does not run on this machine'
    return
  fi
  printf 'RUN lookalikes: %s\n' "$(tail -n 1 "$scratch/noida.version")"
  part 'lookalikes: noida-db' start_noida "$python/bin/noida-db"
  part 'lookalikes: a server on it' start_on_noida
  part 'lookalikes: calls of every kind' "$python/bin/python" scripts/clients/lookalikes.py "$server_address"
  clean_up
}
