# shellcheck shell=bash
# Two replicas behind PgBouncer in transaction mode. Needs common.sh, postgres.sh, servers.sh and what scripts/verify
# has. It runs as whom PostgreSQL runs, with a configuration of its own; no service of the machine is touched.

# pooler_program: the path of the machine's PgBouncer.
pooler_program() {
  if has pgbouncer; then command -v pgbouncer; return; fi
  [ -x /usr/sbin/pgbouncer ] && printf '/usr/sbin/pgbouncer\n'
}

# start_pooler PROGRAM: in front of the private PostgreSQL, with fewer connections than the replicas have. Sets
# pooler_url.
start_pooler() {
  local port dir=$scratch/pgbouncer
  port=$(free_port)
  mkdir "$dir"
  printf '"postgres" ""\n' >"$dir/users"
  cat >"$dir/pgbouncer.ini" <<INI
[databases]
postgres = host=127.0.0.1 port=$postgres_port dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 4
INI
  postgres_as
  [ "$(id -u)" -ne 0 ] || chown -R "$postgres_user" "$dir"
  "${postgres_as[@]}" "$1" "$dir/pgbouncer.ini" >"$scratch/pgbouncer.log" 2>&1 </dev/null &
  pids+=($!)
  await PgBouncer $! "$port" "$scratch/pgbouncer.log"
  pooler_url=postgres://postgres@127.0.0.1:$port/postgres
}

# start_pooled_replicas: two on the pooler. Sets replicas.
start_pooled_replicas() {
  replicas=()
  local name
  for name in one two; do
    start_server "$name" <<TOML
[databases.main]
url = "$pooler_url"
TOML
    replicas+=("$server_address")
  done
}

verify_poolers() {
  local program
  if ! program=$(pooler_program); then
    skipped poolers 'pgbouncer is not installed'
    return
  fi
  if ! has python3 || ! python_packages grpcio grpcio-reflection grpcio-status; then
    skipped poolers "Python's grpcio could not be installed (python3 with venv)"
    return
  fi
  postgres_require
  "$program" --version | head -n 1
  part 'poolers: PostgreSQL' start_postgres
  part 'poolers: PgBouncer in transaction mode' start_pooler "$program"
  part 'poolers: two replicas behind it' start_pooled_replicas
  part 'poolers: 10,000 calls' "$python/bin/python" scripts/clients/poolers.py "${replicas[@]}"
  clean_up
}
