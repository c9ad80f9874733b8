# shellcheck shell=bash
# The package of clients/node: built, tested on SQLite, PostgreSQL and MariaDB, packed and installed, and used by a page in
# Chromium. Needs common.sh, postgres.sh, mariadb.sh, servers.sh and page.sh.

verify_node() {
  if ! has node || ! has npm; then
    skipped node 'node with npm is not installed'
    return
  fi
  postgres_require
  mariadb_require
  # The servers of other parts read them, too: they end with this one.
  local -x ROWGATE_ADDRESS PGHOST PGPORT PGUSER PGDATABASE ROWGATE_PAGE_PORT
  part 'node: a server on SQLite, PostgreSQL and MariaDB' node_server
  part 'node: the package is built by its installation' node_install
  part 'node: types' npm --prefix clients/node run --silent types
  part 'node: tests' node_tests
  part 'node: packed, and used from nothing' node_packed
  part 'node: Drizzle, Kysely, Knex, TypeORM and Sequelize' node_orms
  part 'node: installed from a clone by one command' node_from_clone
  local browser
  if browser=$(page_browser); then
    part 'node: a page in Chromium' env CHROMIUM="$browser" node clients/node/test/browser/run.mjs
  else
    skipped 'node: a page in Chromium' 'no Chromium is installed, and none can be installed'
  fi
  if [ -d clients/conformance ]; then
    node_conformance
  fi
  clean_up
}

# Sets what the tests read.
node_server() {
  start_postgres
  start_mariadb 'create database shop character set utf8mb4' "create user app@'%' identified by 'secret'" \
    "grant all on shop.* to app@'%'"
  ROWGATE_PAGE_PORT=$(free_port)
  start_server node <<TOML
[grpc.web]
allowed_origins = ["http://127.0.0.1:$ROWGATE_PAGE_PORT"]
[idempotency]
create_table = true
[databases.main]
url = "sqlite:node.db"
[databases.postgres]
url = "$postgres_url"
[databases.mariadb]
url = "mysql://app:secret@127.0.0.1:$mariadb_port/shop"
TOML
  export ROWGATE_BIN=$server_bin
  ROWGATE_ADDRESS=$server_address
  PGHOST=127.0.0.1 PGPORT=$postgres_port PGUSER=postgres PGDATABASE=postgres
}

# `prepare` builds it: nothing that was built before is used.
node_install() {
  rm -rf clients/node/dist clients/node/src/gen
  npm install --prefix clients/node --loglevel=error --no-package-lock --no-audit --no-fund
}

node_tests() {
  (cd clients/node && npm test --silent)
}

# The package as it would be published, in a project that has nothing else.
node_packed() {
  mkdir -p "$scratch/packed"
  npm pack ./clients/node --silent --pack-destination "$scratch/packed"
  [[ $(tar -tzf "$scratch"/packed/rowgate-*.tgz) == *package/LICENSE* ]] || die 'the package holds no LICENSE'
  node_used "$scratch/packed" "$scratch"/packed/rowgate-*.tgz
}

# Beside the packed package.
node_orms() (
  # Drizzle itself imports pg, and uses the pool that it gets; Knex, TypeORM and Sequelize use the module that they get.
  cp clients/node/test/programs/orms.mjs "$scratch/packed"
  cd "$scratch/packed"
  npm install --loglevel=error --no-package-lock --no-audit --no-fund --no-save drizzle-orm kysely knex pg reflect-metadata sequelize typeorm
  node orms.mjs
)

# A copy in which nothing was built and installed.
node_from_clone() {
  mkdir "$scratch/clone" "$scratch/linked"
  git ls-files -z --cached --others --exclude-standard clients/node proto | xargs -0 cp --parents -t "$scratch/clone"
  node_used "$scratch/linked" "$scratch/clone/clients/node"
}

# node_used FOLDER PACKAGE: in a new project, as an ES module and as CommonJS.
node_used() (
  local language greets
  cd "$1"
  printf '{ "private": true }\n' >package.json
  npm install --loglevel=error --no-package-lock --no-audit --no-fund "$2"
  # shellcheck disable=SC2016 # JavaScript's own
  greets='(async () => {
  const db = connect(process.env.ROWGATE_ADDRESS);
  const answers = [await db.sql`select ${"hello"} as greeting`, await web(process.env.ROWGATE_ADDRESS).sql`select ${"hello"} as greeting`];
  const pool = new pg.Pool();
  answers.push(await pool.query("select $1 as greeting", ["hello"]));
  const client = await pool.connect();
  answers.push({ rows: await client.query(new Cursor("select $1 as greeting", ["hello"])).read(2) });
  answers.push({ rows: await client.query(new QueryStream("select $1 as greeting", ["hello"])).toArray() });
  client.release();
  if (typeof from !== "function") throw new Error("pg-copy-streams has no from");
  console.log(...answers.map(({ rows }) => rows[0].greeting));
  db.close();
  await pool.end();
})();'
  cat >esm.mjs <<JS
import { connect } from 'rowgate';
import { connect as web } from 'rowgate/web';
import pg from 'rowgate/pg';
import Cursor from 'rowgate/pg-cursor';
import QueryStream from 'rowgate/pg-query-stream';
import { from } from 'rowgate/pg-copy-streams';
$greets
JS
  cat >common.cjs <<JS
const { connect } = require('rowgate');
const { connect: web } = require('rowgate/web');
const pg = require('rowgate/pg');
const Cursor = require('rowgate/pg-cursor');
const QueryStream = require('rowgate/pg-query-stream');
const { from } = require('rowgate/pg-copy-streams');
$greets
JS
  for language in esm.mjs common.cjs; do
    [ "$(env -u NODE_PATH -u PGDATABASE node "$language")" = 'hello hello hello hello hello' ] || die "$language does not print what it should"
  done
  du -sh node_modules
)

# The list of cases that all clients share, over fetch, on each backend; `clients` runs it over gRPC. Each on a server of its own,
# as the list wants one with the database `main` alone.
node_conformance() {
  local backend url
  for backend in sqlite postgres mariadb; do
    case $backend in
      sqlite) url=sqlite:conformance.db ;;
      postgres) url=$postgres_url ;;
      mariadb) url=mysql://app:secret@127.0.0.1:$mariadb_port/shop ;;
    esac
    start_server "conformance-$backend" <<TOML
[databases.main]
url = "$url"
[idempotency]
create_table = true
TOML
    part "node: the list for clients over fetch, $backend" node_list "$backend"
  done
}

# node_list BACKEND: prints what failed and the counts.
node_list() {
  local output=$scratch/list status=0
  ROWGATE_ADDRESS=$server_address ROWGATE_BACKEND=$1 ROWGATE_FETCH=json clients/node/run-conformance >"$output" || status=$?
  grep -v '^SKIPPED' "$output"
  return "$status"
}
