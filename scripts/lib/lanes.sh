# shellcheck shell=bash
# Statements with effects, and slow ones, among short reads that share connections: 10,000 of each. Needs common.sh and
# postgres.sh.

lanes_test=lanes::neighbours::effects_among_shared_reads_in_a_long_run

verify_lanes() {
  if ! has cargo; then
    skipped lanes 'Rust is not installed'
    return
  fi
  postgres_require
  part 'lanes: build' cargo test --locked --quiet --release --test it --no-run
  # Beside the runner of scripts/test: that one ends tests which take minutes.
  part "lanes: ${ROWGATE_LANES_CALLS:-10000} calls of each" \
    cargo test --locked --quiet --release --test it "$lanes_test" -- --ignored --exact --nocapture
}
