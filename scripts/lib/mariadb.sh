# shellcheck shell=bash
# Finds MariaDB's server and client, 10.6 or later, or installs them, and starts private servers from them. Needs
# common.sh. No server of the machine is touched.

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
  has mariadb-dump || has mysqldump || { echo 'no mariadb-dump, or mysqldump'; return; }
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
        apt-get install -q -y --no-install-recommends mariadb-server-core mariadb-client
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
    mariadb_install || die 'MariaDB 10.6 or later is needed: its server, its clients and mariadb-install-db.
  Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client
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

# mariadb_as: the words that run a command as whom the server runs for us: root runs it as an unprivileged user, which it
# insists on. Sets mariadb_user and mariadb_as.
mariadb_as() {
  local name
  mariadb_user=$(id -un) mariadb_as=()
  [ "$(id -u)" -eq 0 ] || return 0
  for name in mysql postgres nobody; do
    ! id -u "$name" >/dev/null 2>&1 || break
  done
  mariadb_user=$name
  mariadb_as=(setpriv --reuid "$name" --regid "$(id -g "$name")" --clear-groups)
  has setpriv || mariadb_as=(runuser -u "$name" --)
}

# mariadb_private_start DIR PORT STATEMENT...: starts a server of our own in DIR, on 127.0.0.1:PORT and DIR/socket, after
# these statements, of which none has a line break; DIR/extra has more of its settings, one a line, where it exists. Its
# superuser is `root`, without a password. Sets mariadb_pid.
mariadb_private_start() {
  local dir=$1 port=$2 tries settings=() basics=(--no-defaults "--datadir=$1/data" "--tmpdir=$1" --innodb-use-native-aio=OFF
    --innodb-flush-method=nosync --skip-log-bin)
  local PATH=${ROWGATE_MYSQLD%/*}:$PATH
  shift 2
  mariadb_as
  [ "$(id -u)" -ne 0 ] || chown "$mariadb_user" "$dir"
  [ ! -e "$dir/extra" ] || mapfile -t settings <"$dir/extra"
  printf '%s;\n' 'flush privileges' "$@" >"$dir/set_up.sql"
  if "$ROWGATE_MYSQLD" --version | grep -q MariaDB; then
    "${mariadb_as[@]}" mariadb-install-db "${basics[@]}" --auth-root-authentication-method=normal --skip-test-db \
      >"$dir/install.log" 2>&1 || die "$(tail -n 5 "$dir/install.log")"
    "${mariadb_as[@]}" "$ROWGATE_MYSQLD" "${basics[@]}" --bootstrap <"$dir/set_up.sql" >>"$dir/install.log" 2>&1 ||
      die "$(tail -n 5 "$dir/install.log")"
  else
    "${mariadb_as[@]}" "$ROWGATE_MYSQLD" "${basics[@]}" --initialize-insecure "--init-file=$dir/set_up.sql" \
      "--secure-file-priv=$dir" >"$dir/install.log" 2>&1 || die "$(tail -n 5 "$dir/install.log")"
  fi
  "${mariadb_as[@]}" "$ROWGATE_MYSQLD" "${basics[@]}" --skip-name-resolve --bind-address=127.0.0.1 "--port=$port" \
    "--socket=$dir/socket" "--pid-file=$dir/pid" "--secure-file-priv=$dir" --loose-mysqlx=OFF "${settings[@]}" \
    >"$dir/server.log" 2>&1 </dev/null &
  mariadb_pid=$!
  for tries in $(seq 600); do
    [ "$tries" -lt 600 ] || die "the server did not start: $(tail -n 5 "$dir/server.log")"
    kill -0 "$mariadb_pid" 2>/dev/null || die "the server ended: $(tail -n 5 "$dir/server.log")"
    ! grep -qs ': ready for conn' "$dir/server.log" || return 0
    sleep 0.05
  done
}
