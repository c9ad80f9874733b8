# shellcheck shell=bash
# The status page in a browser: Chromium, from the machine or from Debian. Needs common.sh, and what
# scripts/verify has.

# The path of the browser, installed when the machine has none.
page_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    if has "$name"; then command -v "$name"; return; fi
  done
  has apt-get && [ "$(id -u)" -eq 0 ] || return 1
  { apt-get install -q -y --no-install-recommends chromium ||
    { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; }; } >&2 || return 1
  command -v chromium
}

# A server with three databases: PostgreSQL, the same behind a port where nobody listens yet, and SQLite.
# Sets proxy_port, server_pid and ops_address.
page_start() {
  start_postgres
  proxy_port=$(free_port)
  start_server page <<TOML
[databases.main]
url = "$postgres_url"
pool.max = 5
pool.leak_threshold = "3s"
[databases.reports]
url = "postgres://postgres@127.0.0.1:$proxy_port/postgres"
pool.max = 4
[databases.notes]
url = "sqlite:notes.db"
TOML
  server_pid=${pids[-1]}
  local tries
  for tries in $(seq 100); do
    ops_address=$(sed -nE 's|^ *operators +http://([0-9.:]+)/.*|\1|p' "$scratch/page.log")
    [ -z "$ops_address" ] || return 0
    sleep 0.05
  done
  die 'the server does not say where it serves operators'
}

# Calls, errors, outages and hostile text on the page, in a wide and a narrow window, light and dark.
verify_page() {
  local browser port pictures=$cache/verify/page
  if ! browser=$(page_browser); then
    skipped page 'Chromium is neither installed nor installable (Debian, as root)'
    return
  fi
  if ! node_packages playwright-core axe-core @grpc/grpc-js @grpc/proto-loader; then
    skipped page "node with npm is missing, or its packages: see $node/install.log"
    return
  fi
  postgres_require
  part 'page: a server on PostgreSQL and SQLite' page_start
  mkdir -p "$pictures"
  port=${postgres_url##*:}
  part 'page: in Chromium' node scripts/clients/page.js "browser=$browser" "ops=$ops_address" \
    "grpc=$server_address" "server=$server_pid" "postgres=${port%%/*}" "proxy=$proxy_port" \
    "pictures=$pictures"
  clean_up
}
