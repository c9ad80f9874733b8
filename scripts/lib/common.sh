# shellcheck shell=bash
# Shared by the scripts: the cache directory, and how a part is announced, run and timed.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/rowgate
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

durations=()

# part TITLE COMMAND...: runs one part and remembers how long it took. A failure ends the script
# through `set -e`; the title stands above the output that explains it.
part() {
  local title=$1 start=$SECONDS
  shift
  printf '\n== %s: RUN\n' "$title"
  "$@"
  durations+=("$(printf '%5d s  %s' $((SECONDS - start)) "$title")")
}

# skipped TITLE WHY: reports a part that cannot run here.
skipped() {
  printf '\n== %s: SKIPPED, %s\n' "$1" "$2"
  durations+=("$(printf '%7s  %s' skipped "$1")")
}

print_durations() {
  printf '\n== durations\n'
  printf '%s\n' "${durations[@]}"
}

has() {
  command -v "$1" >/dev/null 2>&1
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
