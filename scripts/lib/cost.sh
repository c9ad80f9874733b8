# shellcheck shell=bash
# The cost of telemetry, under the load of h2load, from the machine or from Debian's packages. Needs common.sh,
# postgres.sh, and what scripts/verify has. Packages are unpacked into the cache directory and not installed.

cost_root=$cache/verify/cost

# cost_generator: the command that runs h2load, as one line.
cost_generator() {
  if has h2load; then command -v h2load; return; fi
  [ -x "$cost_root/usr/bin/h2load" ] || cost_unpack >&2 || return 1
  local libraries
  libraries=$(printf '%s:' "$cost_root"/usr/lib/*-linux-gnu)
  printf 'env LD_LIBRARY_PATH=%s %s\n' "${libraries%:}" "$cost_root/usr/bin/h2load"
}

cost_unpack() {
  has apt-get && has dpkg-deb || return 1
  cost_download || { apt-get update -q && cost_download; } || return 1
  local package
  for package in "$cost_root"/packages/*.deb; do
    dpkg-deb -x "$package" "$cost_root" || return 1
  done
  [ -x "$cost_root/usr/bin/h2load" ]
}

cost_download() {
  mkdir -p "$cost_root/packages/partial"
  apt-get install -q -y --download-only --no-install-recommends -o Debug::NoLocking=1 \
    -o Dir::Cache::archives="$cost_root/packages" nghttp2-client
}

# Two servers of one release build, one that traces and measures and one that does not, are loaded in turns.
verify_cost() {
  local generator bin=${ROWGATE_BIN:-}
  if ! has python3 || ! generator=$(cost_generator); then
    skipped cost 'python3 is not installed, or h2load neither installed nor to be had by apt-get download'
    return
  fi
  if [ -z "$bin" ]; then
    part 'cost: a release' cargo build --locked --quiet --release --bin rowgate
    bin=$CARGO_TARGET_DIR/release/rowgate
  fi
  postgres_require
  start_postgres
  part 'cost: traces and metrics, on and off' python3 scripts/clients/cost.py "$bin" "$postgres_url" "$generator"
  clean_up
}
