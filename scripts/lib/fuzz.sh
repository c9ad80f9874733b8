# shellcheck shell=bash
# Builds and runs the fuzz targets of fuzz/. Needs common.sh.
#
# libFuzzer and the counters of coverage work with stable Rust; only sanitizers would need another one, and there is no unsafe code
# that they could check.

# The longest input, in bytes, the seconds and the MiB that one may take.
fuzz_options=(-max_len=4096 -timeout=10 -rss_limit_mb=1024)

# fuzz_targets: their names.
fuzz_targets() {
  sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"$|\1|p' fuzz/Cargo.toml
}

# fuzz_lack: prints what the machine lacks; fails if it lacks nothing.
fuzz_lack() {
  if [ "$(uname -s)" != Linux ]; then
    echo 'the targets are built on Linux only'
  elif ! has "${CXX:-c++}"; then
    echo "libFuzzer needs a C++ compiler, and there is no ${CXX:-c++}"
  elif ! cargo fetch --locked --quiet --manifest-path fuzz/Cargo.toml; then
    echo 'the packages of fuzz/Cargo.lock cannot be downloaded'
  else
    return 1
  fi
}

fuzz_build() {
  RUSTC_WRAPPER=$PWD/scripts/lib/instrumented-rustc \
    cargo build --locked --quiet --bins --manifest-path fuzz/Cargo.toml
}

# fuzz_run TARGET SECONDS: runs a target at low priority, on the inputs of the repository and of earlier runs.
fuzz_run() {
  local target=$1 seconds=$2 found=$cache/fuzz/$1 log result=PASS
  log=$cache/fuzz/$target.log
  mkdir -p "$found" "fuzz/artifacts/$target"
  nice -n 19 "$CARGO_TARGET_DIR/debug/$target" "$found" "fuzz/corpus/$target" "${fuzz_options[@]}" \
    -max_total_time="$seconds" -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 >"$log" 2>&1 || result=FAIL
  printf '%-14s RESULT %s  %s runs, %s a second, corpus %s, covered %s, RSS %s MiB\n' "$target" "$result" \
    "$(fuzz_figure number_of_executed_units)" "$(fuzz_figure average_exec_per_sec)" \
    "$(sed -n 's|.* corp: \([0-9]*\)/.*|\1|p' "$log" | tail -1)" \
    "$(sed -n 's|.* cov: \([0-9]*\) .*|\1|p' "$log" | tail -1)" "$(fuzz_figure peak_rss_mb)"
  [ "$result" = PASS ] || { grep -a -A 8 -e panicked -e ERROR -e 'memory allocation' "$log" | head -40; return 1; }
}

# fuzz_figure NAME: one of libFuzzer's final figures, of the log of fuzz_run.
fuzz_figure() {
  sed -n "s|^stat::$1: *||p" "$log" | tail -1
}

# The inputs that a target has in the repository: their number, their bytes in all, and those of the longest.
fuzz_number=300 fuzz_bytes=36000 fuzz_longest=300

# fuzz_minimize TARGET: of the inputs of the repository and of earlier runs, keeps few that cover as much, or a part of them, of all
# sizes, if they are too many.
fuzz_minimize() {
  local target=$1 kept=fuzz/corpus/$1 program=$CARGO_TARGET_DIR/debug/$1 scratch size=0 bytes file step
  scratch=$(mktemp -d)
  mkdir -p "$cache/fuzz/$target" "$kept" "$scratch/all" "$scratch/few"
  "$program" -merge=1 -max_len="$fuzz_longest" "$scratch/all" "$kept" "$cache/fuzz/$target" >/dev/null 2>&1
  "$program" -set_cover_merge=1 -max_len="$fuzz_longest" "$scratch/few" "$scratch/all" >/dev/null 2>&1
  step=$((($(find "$scratch/few" -type f | wc -l) + fuzz_number - 1) / fuzz_number))
  rm -rf "$kept"
  mkdir "$kept"
  while read -r bytes file; do
    size=$((size + bytes))
    [ "$size" -le "$fuzz_bytes" ] || break
    cp "$file" "$kept/"
  done < <(find "$scratch/few" -type f -printf '%s %p\n' | sort -n | awk -v step="$step" 'NR % step == 0')
  rm -rf "$scratch"
  printf '%s inputs\n' "$(find "$kept" -type f | wc -l)"
}
