# shellcheck shell=bash
# The clients in examples/, each by the command of its README, in a copy that nothing was built in. Needs
# common.sh, postgres.sh, mariadb.sh, and the servers and packages of scripts/verify.

# example_lines FILE: lines without what differs between languages, as in DEADLINE_EXCEEDED and DeadlineExceeded, True and true.
example_lines() {
  tr -d _ <"$1" | tr '[:upper:]' '[:lower:]'
}

verify_examples() {
  postgres_require
  mariadb_require
  part 'examples: a server on SQLite, one on PostgreSQL, one on MariaDB' example_servers
  if python_packages grpcio grpcio-reflection grpcio-status; then
    part 'examples: the service config repeats no write' "$python/bin/python" \
      scripts/clients/service_config.py "$sqlite_address" examples/service-config.json
  else
    skipped 'examples: the service config repeats no write' 'grpcio could not be installed'
  fi
  local language command lack
  for language in examples/*/README.md; do
    language=$(basename "$(dirname "$language")")
    command=$(example_command "$language")
    [ -n "$command" ] || die "examples/$language/README.md shows no command"
    if ! lack=$(example_lack "$language" "$command"); then
      skipped "examples: $language" "$lack"
      continue
    fi
    part "examples: $language, SQLite" example_run "$language" "$command" "$sqlite_address"
    part "examples: $language, PostgreSQL" example_run "$language" "$command" "$postgres_address"
    part "examples: $language, MariaDB" example_run "$language" "$command" "$mariadb_address"
    if [ -n "$tls_address" ]; then
      part "examples: $language, TLS and a token" example_secured "$language" "$command"
    else
      skipped "examples: $language, TLS and a token" 'openssl is not installed'
    fi
  done
  clean_up
}

# Sets sqlite_address, postgres_address, mariadb_address and, where certificates can be made, tls_address with example_token; copies all
# files that git does not ignore to $scratch/copy.
example_servers() {
  start_postgres
  start_server on-sqlite </dev/null
  sqlite_address=$server_address
  start_server on-postgres <<TOML
[databases.main]
url = "$postgres_url"
[idempotency]
create_table = true
TOML
  postgres_address=$server_address
  start_mariadb 'create database shop' "create user app@'%' identified by 'secret'" "grant all on shop.* to app@'%'"
  start_server on-mariadb <<TOML
[databases.main]
url = "mysql://app:secret@127.0.0.1:$mariadb_port/shop"
[idempotency]
create_table = true
TOML
  mariadb_address=$server_address
  tls_address= example_token=
  ! has openssl || example_tls_server
  mkdir "$scratch/copy"
  git ls-files -z --cached --others --exclude-standard clients examples proto |
    xargs -0 cp --parents -t "$scratch/copy"
}

# A server over TLS that knows its callers.
example_tls_server() {
  certificates server
  server_binary
  cat >"$scratch/callers.toml" <<TOML
[grpc.tls]
cert = "$scratch/server.crt"
key = "$scratch/server.key"
[access]
tokens = "$scratch/tokens"
[callers.examples]
databases = ["main"]
rpcs = ["Query", "StreamQuery", "ExecuteBatch", "Transact"]
read_only = false
TOML
  example_token=$("$server_bin" token new examples --config "$scratch/callers.toml")
  start_server on-tls <"$scratch/callers.toml"
  tls_address=$server_address
}

# example_command LANGUAGE: the first command of its README.
example_command() {
  awk '/^```sh$/ { found = 1; next } /^```$/ { exit } found' "examples/$1/README.md"
}

# example_lack LANGUAGE COMMAND: false and why, when what it needs is not here and cannot be installed.
example_lack() {
  case $1 in
    python)
      python_packages grpcio-tools >&2 ||
        { echo 'its packages could not be installed (python3 with venv)'; return 1; }
      ;;
    node)
      { has node && has npm; } || { echo 'node with npm is missing'; return 1; }
      ;;
    *) example_lack_debian "$2" ;;
  esac
}

# example_lack_debian COMMAND: the same for one that begins by installing Debian's packages.
example_lack_debian() {
  local packages
  has apt-get || { echo 'it needs packages of Debian, and there is no apt-get'; return 1; }
  if [ "$(id -u)" -ne 0 ] && ! sudo true 2>/dev/null; then
    echo 'its packages are installed by root, or by sudo without a password'
    return 1
  fi
  packages=$(example_packages "$1")
  # shellcheck disable=SC2086 # they are words
  if ! apt-get install --simulate -q $packages >/dev/null 2>&1; then
    sudo apt-get update -q >&2 || true
    apt-get install --simulate -q $packages >/dev/null 2>&1 ||
      { echo "Debian's packages cannot be had:$packages"; return 1; }
  fi
}

# example_packages COMMAND: the packages that it installs.
example_packages() {
  sed -E 's/ && .*//; s/.* install //; s/(^| )-[^ ]*//g' <<<"$1"
}

# Replaces sudo for the commands: root needs none, and often has none; nobody can enter a password.
sudo() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else command sudo -n "$@"; fi
}
export -f sudo

# example_secured LANGUAGE COMMAND: with the token it passes; with another one, without one, and without TLS it does
# nothing at all.
example_secured() {
  local wrong output=$scratch/$1.refused
  ROWGATE_CA=$scratch/ca.crt ROWGATE_TOKEN=$example_token example_run "$1" "$2" "$tls_address"
  for wrong in "ROWGATE_CA=$scratch/ca.crt ROWGATE_TOKEN=rg_000000000000_wrong" "ROWGATE_CA=$scratch/ca.crt" \
    "ROWGATE_TOKEN=$example_token"; do
    # shellcheck disable=SC2086 # they are words
    ! env --chdir "$scratch/copy" $wrong ROWGATE_ADDRESS="$tls_address" "examples/$1/run" >"$output" 2>&1 ||
      die "the example passes with ${wrong//$example_token/TOKEN}"
    ! grep -E "^(query|batch|ok)" "$output" || die "a step passes with ${wrong//$example_token/TOKEN}"
  done
  echo 'refused: another token, no token, no TLS'
}

# example_run LANGUAGE COMMAND ADDRESS: it ends with the lines that examples/README.md shows.
example_run() {
  local output=$scratch/$1.out wanted=$scratch/wanted.out
  awk '/^```text$/ { found = 1; next } /^```$/ { if (found) exit } found' examples/README.md >"$wanted"
  [ -s "$wanted" ] || die 'examples/README.md shows no lines'
  printf '%s\n' "$2"
  env --chdir "$scratch/copy" ROWGATE_ADDRESS="$3" DEBIAN_FRONTEND=noninteractive \
    bash -euo pipefail -c "$2" >"$output" || { cat "$output"; die 'the example failed'; }
  tail -n "$(wc -l <"$wanted")" "$output" >"$output.lines"
  cat "$output.lines"
  diff <(example_lines "$wanted") <(example_lines "$output.lines") || die 'the example shows other lines than examples/README.md'
}
