# shellcheck shell=bash
# Servers to check: a private PostgreSQL, a private MariaDB and the real binary, in a scratch directory, ended with the
# script. Needs common.sh, postgres.sh and mariadb.sh.

scratch=
pids=()
postgres_pid=
clean_up() {
  [ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  [ -z "$postgres_pid" ] || kill -QUIT "$postgres_pid" 2>/dev/null || true
  wait
  [ -z "$scratch" ] || rm -rf "$scratch"
  scratch= pids=() postgres_pid=
}
trap clean_up EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# await NAME PID PORT LOG: until it accepts connections.
await() {
  local tries
  for tries in $(seq 200); do
    [ "$tries" -lt 200 ] || die "$1 did not start: $(tail -n 5 "$4")"
    kill -0 "$2" 2>/dev/null || die "$1 ended: $(tail -n 5 "$4")"
    ! (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null || return 0
    sleep 0.05
  done
}

# A private PostgreSQL in a directory of its own. Sets scratch, postgres_port and postgres_url, without
# parameters.
start_postgres() {
  scratch=$(mktemp -d)
  chmod 755 "$scratch"
  start_postgres_in_scratch
}

# The same in a $scratch that is there.
start_postgres_in_scratch() {
  mkdir "$scratch/postgres"
  postgres_port=$(free_port)
  postgres_private_start "$scratch/postgres" "$postgres_port"
  postgres_url=postgres://postgres@127.0.0.1:$postgres_port/postgres
}

# start_mariadb STATEMENT...: a private MariaDB in the $scratch that is there, after these statements. Sets mariadb_port.
start_mariadb() {
  mkdir "$scratch/mariadb"
  mariadb_port=$(free_port)
  mariadb_private_start "$scratch/mariadb" "$mariadb_port" "$@"
  pids+=("$mariadb_pid")
}

# certificates NAME: an authority, $scratch/ca.crt, and a server's certificate of it for 127.0.0.1 and localhost,
# $scratch/NAME.crt with NAME.key.
certificates() {
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes) to=$scratch/$1
  printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >"$to.extension"
  openssl req -x509 "${key[@]}" -days 1 -subj /CN=authority -keyout "$scratch/ca.key" -out "$scratch/ca.crt" 2>/dev/null
  openssl req -new "${key[@]}" -subj "/CN=$1" -keyout "$to.key" -out "$to.csr" 2>/dev/null
  openssl x509 -req -in "$to.csr" -CA "$scratch/ca.crt" -CAkey "$scratch/ca.key" -CAcreateserial -days 1 \
    -extfile "$to.extension" -out "$to.crt" 2>/dev/null
}

# The binary to check. Sets server_bin.
server_binary() {
  server_bin=${ROWGATE_BIN:-}
  [ -z "$server_bin" ] || return 0
  cargo build --locked --quiet
  server_bin=$CARGO_TARGET_DIR/debug/rowgate
}

# start_server NAME: the real binary with the databases of standard input. Sets server_address,
# server_ops and server_pid.
start_server() {
  local name=$1 grpc ops
  server_binary
  grpc=$(free_port) ops=$(free_port)
  mkdir "$scratch/$name"
  {
    printf '[grpc]\nlisten = "127.0.0.1:%s"\n[ops]\nlisten = "127.0.0.1:%s"\n' "$grpc" "$ops"
    cat
  } >"$scratch/$name/rowgate.toml"
  (cd "$scratch/$name" && exec "$server_bin" serve) >"$scratch/$name.log" 2>&1 &
  server_pid=$!
  pids+=($!)
  server_address=127.0.0.1:$grpc server_ops=127.0.0.1:$ops
  await "the server $name" $! "$grpc" "$scratch/$name.log"
}
