# shellcheck shell=bash
# DB-API 2.0 and the dialects of SQLAlchemy in clients/python: SQLAlchemy's own suite beside the usual drivers, the compliance
# test of DB-API, programs that print the same over both, and kills of each backend under one. Needs common.sh, postgres.sh,
# mariadb.sh, servers.sh and the packages of scripts/verify.

sqlalchemy_tests=clients/python/tests/sqlalchemy
# Seconds of writing, and kills meanwhile.
sqlalchemy_kills=4

verify_sqlalchemy() {
  if ! python_packages setuptools 'grpcio-tools>=1.60' || ! python_packages 'sqlalchemy[asyncio]>=2.0' psycopg psycopg-binary \
    psycopg2-binary pymysql aiosqlite alembic pandas pytest dbapi-compliance ./clients/python; then
    skipped sqlalchemy "SQLAlchemy, its drivers, alembic and pandas could not be installed (python3 with venv)"
    return
  fi
  postgres_require
  mariadb_require
  part 'sqlalchemy: a PostgreSQL, a MariaDB, and a server on them and on SQLite' sqlalchemy_servers
  part 'sqlalchemy: DB-API 2.0 and its compliance test' sqlalchemy_dbapi
  part 'sqlalchemy: the suite on PostgreSQL, psycopg beside Rowgate' sqlalchemy_suites psycopg \
    "postgresql+psycopg://postgres@127.0.0.1:$postgres_port/direct" "rowgate+postgresql://$server_address/main"
  part 'sqlalchemy: the suite on SQLite, pysqlite beside Rowgate' sqlalchemy_suites pysqlite \
    "sqlite:///$scratch/direct.db" "rowgate+sqlite://$server_address/suite"
  part 'sqlalchemy: the asyncio engine' sqlalchemy_asyncio
  local program
  for program in program.py migrate.py frames.py; do
    part "sqlalchemy: $program over the usual drivers and over Rowgate" sqlalchemy_same "$program"
  done
  part 'sqlalchemy: PostgreSQL killed' sqlalchemy_killed postgres rowgate+postgresql main
  part 'sqlalchemy: MariaDB killed' sqlalchemy_killed mysql rowgate+mariadb mysql
  part 'sqlalchemy: SQLite killed, with the server that it is in' sqlalchemy_killed sqlite rowgate+sqlite sqlite
  clean_up
}

# A database for each driver, and for each over the server.
sqlalchemy_servers() {
  start_postgres
  local database statement psql=("$ROWGATE_PG_BIN/psql" -q -h 127.0.0.1 -p "$postgres_port" -U postgres)
  for database in direct over; do
    "${psql[@]}" -c "create database $database"
    for statement in 'create schema test_schema' 'create schema test_schema_2' 'create extension hstore' 'create extension citext'; do
      "${psql[@]}" -d "$database" -c "$statement"
    done
  done
  start_mariadb 'create database direct character set utf8mb4' 'create database shop character set utf8mb4' \
    "create user app@'%' identified by 'secret'" "grant all on *.* to app@'%'"
  start_server sqlalchemy <<TOML
[databases.main]
url = "postgres://postgres@127.0.0.1:$postgres_port/over"
settings_allowed = ["search_path"]
[databases.mysql]
url = "mysql://app:secret@127.0.0.1:$mariadb_port/shop"
[databases.sqlite]
url = "sqlite:over.db"
[databases.suite]
url = "sqlite:suite.db"
TOML
}

sqlalchemy_dbapi() {
  (
    cd clients/python
    ROWGATE_TEST_POSTGRES=$server_address/main ROWGATE_TEST_MYSQL=$server_address/mysql \
      ROWGATE_TEST_SQLITE=$server_address/sqlite "$python/bin/python" -m pytest -q -p no:cacheprovider -W ignore tests/dbapi tests/sqlalchemy/test_*.py
  )
}

# sqlalchemy_suites DRIVER ITS_URL OUR_URL: both must pass, and what passes over the usual driver alone must be written down.
sqlalchemy_suites() {
  local name url usual=$1 status=0 database=${2%%[+:]*}
  # A copy: pysqlite leaves files beside the suite.
  rm -rf "$scratch/suite"
  cp -r "$sqlalchemy_tests/suite" "$scratch/suite"
  for name in "$1" rowgate; do
    url=$2
    shift
    (cd "$scratch/suite" && "$python/bin/python" -m pytest -c setup.cfg --rootdir=. -q -W ignore "--junitxml=$scratch/$name.xml" \
      --dburi "$url") >"$scratch/suite.log" 2>&1 || { status=1; grep -E '^(FAILED|ERROR|E  )' "$scratch/suite.log" | head -40; }
    printf '%-10s %s\n' "$name" "$(tail -n 1 "$scratch/suite.log")"
  done
  "$python/bin/python" "$sqlalchemy_tests/compare.py" "$database" "$scratch/$usual.xml" "$scratch/rowgate.xml" || status=1
  return "$status"
}

sqlalchemy_asyncio() {
  local dialect
  for dialect in postgresql:main mariadb:mysql sqlite:sqlite; do
    "$python/bin/python" "$sqlalchemy_tests/asynchronous.py" "rowgate+${dialect%:*}://$server_address/${dialect#*:}"
  done
}

# sqlalchemy_same PROGRAM: what it prints over each usual driver and over Rowgate.
sqlalchemy_same() {
  local pair
  rm -f "$scratch/program.db"
  for pair in "postgresql+psycopg2://postgres@127.0.0.1:$postgres_port/direct rowgate+postgresql://$server_address/main" \
    "sqlite:///$scratch/program.db rowgate+sqlite://$server_address/sqlite" \
    "mysql+pymysql://app:secret@127.0.0.1:$mariadb_port/direct rowgate+mysql://$server_address/mysql" \
    "mariadb+pymysql://app:secret@127.0.0.1:$mariadb_port/direct rowgate+mariadb://$server_address/mysql"; do
    "$python/bin/python" "$sqlalchemy_tests/$1" "${pair% *}" >"$scratch/usual"
    "$python/bin/python" "$sqlalchemy_tests/$1" "${pair#* }" >"$scratch/ours"
    diff "$scratch/usual" "$scratch/ours"
    printf '%s: the same %s lines\n' "${pair#* }" "$(wc -l <"$scratch/ours")"
  done
}

# sqlalchemy_killed BACKEND DIALECT DATABASE: the backend is killed and started again under a program that writes.
sqlalchemy_killed() {
  local stop=$scratch/stop.$1 log=$scratch/kills.$1.log program turn
  rm -f "$stop"
  "$python/bin/python" "$sqlalchemy_tests/kills.py" "$2://$server_address/$3" "$stop" >"$log" 2>&1 &
  program=$!
  for turn in $(seq 200); do
    ! grep -q '^writing' "$log" || break
    sleep 0.1
  done
  for turn in $(seq "$sqlalchemy_kills"); do
    sleep 1.5
    "sqlalchemy_kill_$1"
  done
  sleep 1.5
  touch "$stop"
  wait "$program" || { cat "$log"; return 1; }
  cat "$log"
}

sqlalchemy_kill_postgres() {
  kill -QUIT "$postgres_pid"
  wait "$postgres_pid" || true
  postgres_private_resume "$scratch/postgres" "$postgres_port"
}

sqlalchemy_kill_mysql() {
  local dir=$scratch/mariadb
  kill -KILL "$mariadb_pid"
  wait "$mariadb_pid" || true
  mariadb_as
  "${mariadb_as[@]}" "$ROWGATE_MYSQLD" --no-defaults "--datadir=$dir/data" "--tmpdir=$dir" --innodb-use-native-aio=OFF \
    --innodb-flush-method=nosync --skip-log-bin --skip-name-resolve --bind-address=127.0.0.1 "--port=$mariadb_port" \
    "--socket=$dir/socket" "--pid-file=$dir/pid" >>"$dir/server.log" 2>&1 &
  mariadb_pid=$!
  pids+=("$mariadb_pid")
  await MariaDB "$mariadb_pid" "$mariadb_port" "$dir/server.log"
}

# SQLite is in the process of the server.
sqlalchemy_kill_sqlite() {
  kill -KILL "$server_pid"
  wait "$server_pid" || true
  (cd "$scratch/sqlalchemy" && exec "$server_bin" serve) >>"$scratch/sqlalchemy.log" 2>&1 &
  server_pid=$!
  pids+=("$server_pid")
  await 'the server' "$server_pid" "${server_address#*:}" "$scratch/sqlalchemy.log"
}
