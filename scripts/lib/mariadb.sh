# shellcheck shell=bash
# Finds MariaDB's server and client, 10.6 or later, or installs them. Needs common.sh. The tests start private
# servers from them; no server of the machine is touched.

# The path of the server: ROWGATE_MYSQLD, or MariaDB's; nothing where there is none.
mariadb_find() {
  if [ -n "${ROWGATE_MYSQLD:-}" ]; then
    printf '%s\n' "$ROWGATE_MYSQLD"
    return
  fi
  PATH=$PATH:/usr/sbin:/usr/libexec:/usr/local/sbin command -v mariadbd || true
}

# mariadb_lack SERVER: the reason for which the server is unusable; nothing if it is usable.
mariadb_lack() {
  local server=$1 version
  [ -n "$server" ] || { echo 'no mariadbd'; return; }
  [ -x "$server" ] || { echo "$server cannot be run"; return; }
  version=$("$server" --version 2>/dev/null) || { echo "$server does not run"; return; }
  local PATH=${server%/*}:$PATH
  has mariadb || has mysql || { echo 'no client (mariadb, or mysql)'; return; }
  version=$(sed -E 's/.*Ver ([0-9]+)\.([0-9]+).*/\1 \2/' <<<"$version")
  local major=${version% *} minor=${version#* }
  if "$server" --version | grep -q MariaDB; then
    { [ "$major" -gt 10 ] || { [ "$major" -eq 10 ] && [ "$minor" -ge 6 ]; }; } ||
      { echo "MariaDB $major.$minor is older than 10.6"; return; }
    has mariadb-install-db || has mysql_install_db || echo 'no mariadb-install-db'
  else
    [ "$major" -ge 8 ] || echo "MySQL $major.$minor is older than 8.0"
  fi
}

# Installs the packages of the programs alone: nothing of Debian's starts a server of its own.
mariadb_install() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    has sudo && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  has apt-get || return 1
  {
    "${as_root[@]}" apt-get update -q &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends mariadb-server-core mariadb-client-core
  } </dev/null
}

# Sets and exports ROWGATE_MYSQLD, which the tests' harness reads.
mariadb_require() {
  local server lack
  server=$(mariadb_find)
  lack=$(mariadb_lack "$server")
  if [ -n "$lack" ]; then
    [ -z "${ROWGATE_MYSQLD:-}" ] || die "ROWGATE_MYSQLD will not do: $lack"
    echo "MariaDB will not do: $lack; trying to install it"
    mariadb_install || die 'MariaDB 10.6 or later is needed: its server, its client and mariadb-install-db.
  Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client-core
  Fedora:         dnf install mariadb-server
  macOS:          brew install mariadb
  or name the server of MariaDB or of MySQL 8.0 or later in ROWGATE_MYSQLD.'
    server=$(mariadb_find)
    lack=$(mariadb_lack "$server")
    [ -z "$lack" ] || die "MariaDB was installed, but $lack."
  fi
  export ROWGATE_MYSQLD=$server
  "$server" --version
}
