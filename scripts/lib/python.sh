# shellcheck shell=bash
# The Python package of clients/python: built as a wheel out of an sdist, and tested on all backends. Needs common.sh,
# postgres.sh, mariadb.sh and servers.sh.

package_environment=$cache/verify/python-package

# The sdist, from it the wheel, and from that an environment with what the tests need.
package_install() {
  [ -x "$package_environment/bin/pip" ] || python3 -m venv "$package_environment"
  local pip=("$package_environment/bin/pip" --quiet --disable-pip-version-check)
  "${pip[@]}" install build
  "$package_environment/bin/python" -m build --outdir "$scratch/dist" "$scratch/copy/clients/python" >"$scratch/build.log" ||
    die "the package does not build: $(tail -n 5 "$scratch/build.log")"
  local wheel=("$scratch"/dist/*.whl)
  "${pip[@]}" install --force-reinstall --no-deps "${wheel[0]}"
  "${pip[@]}" install "${wheel[0]}[test,sqlalchemy]" alembic mypy
}

# What no backend is needed for: the types.
package_types() {
  (cd clients/python && "$package_environment/bin/mypy" --cache-dir "$scratch/mypy")
}

# The tests on SQLite, PostgreSQL and MariaDB.
package_test() {
  ROWGATE_BIN=$server_bin ROWGATE_POSTGRES_URL=$postgres_url \
    ROWGATE_MYSQL_URL=mysql://app:secret@127.0.0.1:$mariadb_port/shop \
    "$package_environment/bin/python" -m pytest -p no:cacheprovider -q clients/python/tests
}

# Servers, and a copy of the package: a build leaves files beside its sources.
package_start() {
  start_postgres
  start_mariadb 'create database shop character set utf8mb4' "create user app@'%' identified by 'secret'" \
    "grant all on shop.* to app@'%'"
  server_binary
  mkdir "$scratch/copy"
  git ls-files -z --cached --others --exclude-standard -- proto clients/python |
    xargs -0 cp --parents -t "$scratch/copy"
}

verify_python() {
  if ! has python3; then
    skipped python 'python3 is not installed'
    return
  fi
  postgres_require
  mariadb_require
  part 'python: PostgreSQL, MariaDB, and a binary' package_start
  part 'python: sdist, wheel, environment' package_install
  part 'python: types' package_types
  part 'python: tests' package_test
  clean_up
}
