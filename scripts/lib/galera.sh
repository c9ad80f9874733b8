# shellcheck shell=bash
# A Galera cluster of three nodes, of Debian's packages galera-4 and mariadb-server-core. Needs common.sh.

galera_library=/usr/lib/galera/libgalera_smm.so
# As scripts/test finds it.
galera_server() {
  local directory
  for directory in ${PATH//:/ } /usr/sbin /usr/libexec /usr/local/sbin; do
    [ ! -x "$directory/mariadbd" ] || return 0
  done
  return 1
}

verify_galera() {
  if ! has cargo; then
    skipped galera 'Rust is not installed'
    return
  fi
  if ! galera_server; then
    skipped galera 'mariadbd is not installed (package mariadb-server-core)'
    return
  fi
  if [ ! -f "$galera_library" ]; then
    skipped galera "$galera_library is not there (package galera-4)"
    return
  fi
  part 'galera: build' cargo test --locked --quiet --release --test it --no-run
  # Beside the runner of scripts/test: that one ends tests which take minutes.
  part 'galera: three nodes' \
    cargo test --locked --quiet --release --test it galera:: -- --ignored --nocapture --test-threads 1
}
