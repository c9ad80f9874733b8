# shellcheck shell=bash
# The conformance list for clients (clients/conformance), run by each client on each backend. Needs common.sh,
# servers.sh, examples.sh, and the packages of scripts/verify.

# The runners: those of the packages, and those that drive the code of examples/.
conformance_runners='python node go java ruby cpp'

# verify_conformance: a server on each backend, then each runner on each of them.
verify_conformance() {
  postgres_require
  mariadb_require
  part 'clients: a server on SQLite, one on PostgreSQL, one on MariaDB' conformance_servers
  local client runner lack
  for client in $conformance_runners; do
    runner=$(conformance_runner "$client")
    if [ ! -x "$runner" ]; then
      skipped "clients: conformance, $client" "there is no $runner"
    elif ! lack=$(conformance_lack "$client"); then
      skipped "clients: conformance, $client" "$lack"
    else
      part "clients: conformance, $client, SQLite" conformance_run "$client" sqlite "$sqlite_address"
      part "clients: conformance, $client, PostgreSQL" conformance_run "$client" postgres "$postgres_address"
      part "clients: conformance, $client, MariaDB" conformance_run "$client" mariadb "$mariadb_address"
    fi
  done
  clean_up
}

# Sets sqlite_address, postgres_address and mariadb_address.
conformance_servers() {
  local keys='[idempotency]
create_table = true'
  start_postgres
  start_server on-sqlite <<<"$keys"
  sqlite_address=$server_address
  start_server on-postgres <<TOML
[databases.main]
url = "$postgres_url"
$keys
TOML
  postgres_address=$server_address
  start_mariadb 'create database shop character set utf8mb4' "create user app@'%' identified by 'secret'" "grant all on shop.* to app@'%'"
  start_server on-mariadb <<TOML
[databases.main]
url = "mysql://app:secret@127.0.0.1:$mariadb_port/shop"
$keys
TOML
  mariadb_address=$server_address
}

conformance_runner() {
  case $1 in
    python | node) echo "clients/$1/run-conformance" ;;
    *) echo "clients/conformance/runners/$1/run" ;;
  esac
}

# conformance_lack CLIENT: false and why, when what its runner needs is not here and cannot be installed.
conformance_lack() {
  local command
  case $1 in
    python) has python3 || { echo 'python3 is not installed'; return 1; } ;;
    node) { has node && has npm; } || { echo 'node with npm is not installed'; return 1; } ;;
    *)
      command=$(conformance_command "$1")
      example_lack_debian "$command" || return 1
      # shellcheck disable=SC2046 # they are words
      sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        $(example_packages "$command") >&2 || { echo "Debian's packages could not be installed"; return 1; }
      ;;
  esac
}

# conformance_command CLIENT: the command that installs what its example needs, and what its runner needs beside.
conformance_command() {
  local more=
  [ "$1" != cpp ] || more=' nlohmann-json3-dev'
  example_command "$1" | sed "s/ && /$more && /"
}

# conformance_run CLIENT BACKEND ADDRESS: the last line counts, and no case may fail.
conformance_run() {
  local output=$scratch/conformance.out
  ROWGATE_BACKEND=$2 ROWGATE_ADDRESS=$3 "$(conformance_runner "$1")" >"$output" 2>&1 ||
    { grep -v '^SKIPPED: ' "$output" | tail -n 60; die "the runner of $1 failed on $2"; }
  python3 scripts/clients/skipped.py "$2" <"$output"
  tail -n 1 "$output"
  [[ $(tail -n 1 "$output") =~ ^[1-9][0-9]*\ passed,\ 0\ failed,\ [0-9]+\ skipped$ ]] || die 'the last line does not count'
}
