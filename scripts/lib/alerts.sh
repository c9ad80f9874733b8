# shellcheck shell=bash
# Rules and dashboard in front of a real Prometheus, Debian's. Needs common.sh, postgres.sh and what
# scripts/verify has. The package is unpacked into the cache directory and not installed: no service of the
# machine starts.

prometheus_root=$cache/verify/prometheus

# prometheus_tool NAME: the path of prometheus or promtool.
prometheus_tool() {
  if has "$1"; then command -v "$1"; return; fi
  [ -x "$prometheus_root/usr/bin/$1" ] || prometheus_unpack >&2 || return 1
  printf '%s\n' "$prometheus_root/usr/bin/$1"
}

prometheus_unpack() {
  has apt-get && has dpkg-deb || return 1
  mkdir -p "$prometheus_root/package"
  prometheus_download || { apt-get update -q && prometheus_download; } || return 1
  dpkg-deb -x "$prometheus_root"/package/prometheus_*.deb "$prometheus_root"
}

prometheus_download() {
  (cd "$prometheus_root/package" && rm -f -- *.deb && apt-get download -q -o APT::Sandbox::User=root prometheus)
}

# A server with a database for each condition, all but `unreachable` in one PostgreSQL. Sets server_address, server_ops
# and server_pid.
start_watched() {
  start_postgres
  local port sql main_pid=$postgres_pid
  port=$(free_port)
  mkdir "$scratch/unreachable"
  postgres_private_start "$scratch/unreachable" "$port"
  pids+=("$postgres_pid")
  postgres_pid=$main_pid
  for sql in 'create table marks (number int)' 'create role refused login' \
    'create role crowded login connection limit 2'; do
    "$ROWGATE_PG_BIN/psql" -q -X -d "$postgres_url" -c "$sql"
  done
  start_server watched <<TOML
[databases.main]
url = "$postgres_url?application_name=main"
[databases.unreachable]
url = "postgres://postgres@127.0.0.1:$port/postgres"
breaker.failures = 1
[databases.full]
url = "$postgres_url?application_name=full"
pool = { min = 1, max = 2, acquire_timeout = "500ms" }
[databases.paused]
url = "$postgres_url?application_name=paused"
pool = { min = 1 }
[databases.held]
url = "$postgres_url?application_name=held"
pool = { min = 1, leak_threshold = "200ms" }
[databases.slow]
url = "$postgres_url?application_name=slow"
[databases.lost]
url = "$postgres_url?application_name=lost"
pool = { min = 1, max = 2 }
retry = { budget = 0.01 }
[databases.unknown]
url = "$postgres_url?application_name=unknown"
pool = { min = 1 }
[databases.refused]
url = "${postgres_url/postgres@/refused@}?application_name=refused"
pool = { min = 0 }
[databases.crowded]
url = "${postgres_url/postgres@/crowded@}?application_name=crowded"
pool = { min = 1, max = 4, acquire_timeout = "500ms" }
TOML
}

# start_prometheus COMMAND: with our example of a configuration, but a second between scrapes and evaluations, and
# times of the rules that are as short. Sets prometheus_url.
start_prometheus() {
  local port dir=$scratch/prometheus
  port=$(free_port)
  mkdir "$dir"
  sed -e 's/15s/1s/' -e "s/rowgate:9464/$server_ops/" deploy/prometheus/prometheus.yaml >"$dir/prometheus.yaml"
  sed -E -e 's/for: [0-9]+m$/for: 2s/' -e 's/\[[0-9]+m\]/[15s]/' -e 's/offset [0-9]+m/offset 15s/' \
    deploy/prometheus/rowgate.rules.yaml >"$dir/rowgate.rules.yaml"
  "$1" --config.file="$dir/prometheus.yaml" --storage.tsdb.path="$dir/data" --log.level=warn \
    --web.listen-address="127.0.0.1:$port" >"$scratch/prometheus.log" 2>&1 &
  pids+=($!)
  await prometheus $! "$port" "$scratch/prometheus.log"
  prometheus_url=http://127.0.0.1:$port
}

# check_metrics PROMTOOL: lints what the server answers.
check_metrics() {
  python3 -c 'import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())' \
    "http://$server_ops/metrics" >"$scratch/metrics"
  grep -c '^# TYPE' "$scratch/metrics" | sed 's/$/ metrics/'
  "$1" check metrics <"$scratch/metrics"
}

# Each alert has its row in the page beside the rules, and its runbook is a heading.
check_alert_pages() {
  local rules=deploy/prometheus/rowgate.rules.yaml name page anchor missing=
  for name in $(sed -n 's/^ *- alert: //p' "$rules"); do
    grep -qF "| \`$name\` |" deploy/prometheus/README.md || missing+=" $name"
  done
  while IFS='#' read -r page anchor; do
    sed -n 's/^##* //p' "$page" | tr '[:upper:] ' '[:lower:]-' | tr -cd 'a-z0-9_\n-' | grep -qxF -- "$anchor" ||
      missing+=" $page#$anchor"
  done < <(sed -n 's/^ *runbook_url: //p' "$rules" | sort -u)
  [ -z "$missing" ] || die "not in the pages:$missing"
}

verify_alerts() {
  local prometheus promtool
  if ! prometheus=$(prometheus_tool prometheus) || ! promtool=$(prometheus_tool promtool); then
    skipped alerts 'prometheus is neither installed nor can apt-get download it'
    return
  fi
  part 'alerts: rules' "$promtool" check rules deploy/prometheus/rowgate.rules.yaml
  part 'alerts: tests of the rules' "$promtool" test rules deploy/prometheus/rowgate.rules.test.yaml
  part 'alerts: pages' check_alert_pages
  if ! python_packages grpcio grpcio-reflection grpcio-status; then
    skipped 'alerts: in a real Prometheus' "Python's grpcio could not be installed (python3 with venv)"
    return
  fi
  postgres_require
  part 'alerts: a server on two PostgreSQLs' start_watched
  part 'alerts: Prometheus' start_prometheus "$prometheus"
  part 'alerts: each fires and ends' env GRPC_ENABLE_FORK_SUPPORT=0 "$python/bin/python" scripts/clients/alerts.py \
    "$prometheus_url" "$server_address" "$server_pid" "$scratch/unreachable/data" deploy/grafana/rowgate.json
  part 'alerts: metrics' check_metrics "$promtool"
  clean_up
}
