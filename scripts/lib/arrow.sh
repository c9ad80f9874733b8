# shellcheck shell=bash
# What `rowgate query --format arrow` writes, read by Arrow's libraries. Needs common.sh, postgres.sh, servers.sh and
# what scripts/verify has.

# arrow_server: a server on PostgreSQL.
arrow_server() {
  start_postgres
  start_server server <<TOML
[databases.main]
url = "$postgres_url"
TOML
}

# arrow_file FILE: the result of every type.
arrow_file() {
  "$server_bin" query --format arrow --address "$server_address" <scripts/clients/arrow.sql >"$1"
}

verify_arrow() {
  postgres_require
  part 'arrow: a server on PostgreSQL' arrow_server
  local file=$scratch/types.arrows
  part 'arrow: a file of every type' arrow_file "$file"
  if python_packages pyarrow; then
    part 'arrow: Python, pyarrow' "$python/bin/python" scripts/clients/arrow_file.py "$file"
  else
    skipped 'arrow: Python, pyarrow' 'pyarrow could not be installed (python3 with venv)'
  fi
  if node_packages apache-arrow; then
    part 'arrow: Node, apache-arrow' node scripts/clients/arrow_file.js "$file"
  else
    skipped 'arrow: Node, apache-arrow' "node with npm is missing, or its packages: see $node/install.log"
  fi
  clean_up
}
