# shellcheck shell=bash
# Finds PostgreSQL's server binaries, 13 or later with the contrib extensions, or installs them.
# Needs common.sh. The tests start private servers from them; no server of the machine is touched.

postgres_wanted='hstore ltree citext'

# Directories that may hold initdb and postgres, best first.
postgres_candidates() {
  [ -n "${ROWGATE_PG_BIN:-}" ] && printf '%s\n' "$ROWGATE_PG_BIN"
  if has initdb; then
    dirname "$(readlink -f "$(command -v initdb)" 2>/dev/null || command -v initdb)"
  fi
  if has pg_config; then pg_config --bindir 2>/dev/null || true; fi
  local dir
  for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
    printf '%s\n' "$dir"
  done | sort -rV
}

# The reason for which the directory is unusable; nothing if it is usable.
postgres_lack() {
  local bin=$1 major share extension
  local tool
  for tool in initdb postgres psql; do
    [ -x "$bin/$tool" ] || { echo "no $tool"; return; }
  done
  major=$("$bin/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
  [ "$major" -ge 13 ] || { echo "version $major is older than 13"; return; }
  [ -x "$bin/pg_config" ] || return 0
  share=$("$bin/pg_config" --sharedir)
  for extension in $postgres_wanted; do
    [ -f "$share/extension/$extension.control" ] || { echo "no extension $extension"; return; }
  done
}

postgres_find() {
  local bin lack
  while read -r bin; do
    [ -d "$bin" ] || continue
    lack=$(postgres_lack "$bin")
    if [ -z "$lack" ]; then
      printf '%s\n' "$bin"
      return 0
    fi
    printf 'PostgreSQL in %s will not do: %s\n' "$bin" "$lack" >&2
  done < <(postgres_candidates)
  return 1
}

# Installs the packages without letting Debian create and start a cluster of its own: the drop-in
# is there only while the packages are being installed.
postgres_install() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    has sudo && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  has apt-get || return 1
  local dropin=/etc/postgresql-common/createcluster.d/rowgate-tests.conf status=0
  "${as_root[@]}" mkdir -p "${dropin%/*}"
  printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$dropin" >/dev/null
  {
    "${as_root[@]}" apt-get update -q &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends postgresql postgresql-contrib
  } </dev/null || status=$?
  "${as_root[@]}" rm -f "$dropin"
  return "$status"
}

# Sets and exports ROWGATE_PG_BIN, which the tests' harness reads.
postgres_require() {
  local bin
  if ! bin=$(postgres_find); then
    echo 'PostgreSQL is not installed: trying to install it'
    postgres_install || die 'PostgreSQL 13 or later is needed, with its contrib extensions.
  Debian, Ubuntu: apt-get install postgresql postgresql-contrib
  Fedora:         dnf install postgresql-server postgresql-contrib
  macOS:          brew install postgresql
  or name the directory of initdb and postgres in ROWGATE_PG_BIN.'
    bin=$(postgres_find) || die 'PostgreSQL was installed, but still no usable version is found.'
  fi
  export ROWGATE_PG_BIN=$bin
  printf '%s in %s\n' "$("$bin/postgres" --version)" "$bin"
}

# postgres_as: the words that run a command as whom PostgreSQL runs for us: root runs it as an unprivileged
# user, which it insists on. Sets postgres_user and postgres_as.
postgres_as() {
  postgres_user=$(id -un) postgres_as=()
  [ "$(id -u)" -eq 0 ] || return 0
  postgres_user=$(id -un postgres 2>/dev/null || echo nobody)
  postgres_as=(setpriv --reuid "$postgres_user" --regid "$(id -g "$postgres_user")" --clear-groups)
  has setpriv || postgres_as=(runuser -u "$postgres_user" --)
}

# postgres_private_start DIR PORT: starts a server of our own in DIR, on 127.0.0.1:PORT and a socket in
# DIR, for the role `postgres` without a password. Sets postgres_pid.
postgres_private_start() {
  local dir=$1
  postgres_as
  [ "$(id -u)" -ne 0 ] || chown "$postgres_user" "$dir"
  "${postgres_as[@]}" "$ROWGATE_PG_BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C \
    --no-sync >"$dir/initdb.log"
  postgres_private_resume "$@"
}

# postgres_private_resume DIR PORT: starts it again when it has ended.
postgres_private_resume() {
  local dir=$1 port=$2 tries
  rm -f "$dir/data/postmaster.pid"
  "${postgres_as[@]}" "$ROWGATE_PG_BIN/postgres" -D "$dir/data" -k "$dir" -h 127.0.0.1 -p "$port" -F \
    >"$dir/server.log" 2>&1 </dev/null &
  postgres_pid=$!
  for tries in $(seq 600); do
    [ "$tries" -lt 600 ] || die "PostgreSQL did not start: $(tail -n 3 "$dir/server.log")"
    ! grep -qs '^ready' "$dir/data/postmaster.pid" || return 0
    sleep 0.05
  done
}
