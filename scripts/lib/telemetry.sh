# shellcheck shell=bash
# Traces and metrics at a real collector, rotel. Needs common.sh, and of scripts/verify what starts servers.

# telemetry_collector GRPC_PORT HTTP_PORT: takes OTLP and writes what it gets to collector.log. Sets collector_pid.
telemetry_collector() {
  local agent
  agent=$("$python/bin/python" -c 'import pathlib, rotel; print(pathlib.Path(rotel.__file__).with_name("rotel-agent"))')
  "$agent" start --pid-file "$scratch/collector.pid" --otlp-grpc-endpoint "127.0.0.1:$1" --otlp-http-endpoint "127.0.0.1:$2" \
    --exporter blackhole --batch-timeout 100ms --debug-log traces --debug-log metrics --debug-log-verbosity detailed \
    >"$scratch/collector.log" 2>&1 &
  collector_pid=$!
  pids+=("$collector_pid")
  await 'the collector' "$collector_pid" "$1" "$scratch/collector.log"
}

# telemetry_start PROTOCOL: a collector, and a server that sends to it. Sets server_pid beside their addresses.
telemetry_start() {
  start_postgres
  local grpc http endpoint
  grpc=$(free_port) http=$(free_port)
  telemetry_collector "$grpc" "$http"
  case $1 in
    grpc) endpoint=$grpc ;;
    *) endpoint=$http ;;
  esac
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$endpoint OTEL_EXPORTER_OTLP_PROTOCOL=$1 \
    OTEL_BSP_SCHEDULE_DELAY=100 OTEL_METRIC_EXPORT_INTERVAL=200 start_server server <<TOML
[databases.main]
url = "$postgres_url"
TOML
  server_pid=${pids[-1]}
}

# A trace that goes from a client through the server to the statement, and what a collector that ends costs.
verify_telemetry() {
  if ! has python3 || ! python_packages grpcio grpcio-reflection grpcio-status opentelemetry-sdk rotel; then
    skipped telemetry "rotel, or Python's grpcio and opentelemetry-sdk, could not be installed (python3 with venv)"
    return
  fi
  postgres_require
  local protocol client=("$python/bin/python" scripts/clients/telemetry.py)
  for protocol in grpc http/protobuf; do
    part "telemetry: a collector and a server, $protocol" telemetry_start "$protocol"
    part "telemetry: a trace from the client to the statement, $protocol" \
      "${client[@]}" trace "$server_address" "$scratch/collector.log"
    part "telemetry: the collector ends, $protocol" \
      "${client[@]}" alone "$server_address" "$collector_pid" "$server_pid"
    clean_up
  done
}
