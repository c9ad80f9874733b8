# shellcheck shell=bash
# The container image: built by buildah as Dockerfile says, looked into, and run read-only by runc. Needs
# common.sh and postgres.sh, and the functions of scripts/verify. Images are kept in the cache directory.
#
# Where the base images cannot be pulled, stand-ins are made of Debian's packages, which the bases are made
# of, too: for the build gcc and glibc's headers, with the Rust of this machine; to run glibc, libgcc and
# certificate authorities.

container_home=$cache/verify/container
container_image=localhost/rowgate:verify
container_limit=60000000
# No more than gcr.io/distroless/cc-debian12 has, which a stand-in is smaller than.
container_base_size=26000000
# The release of Debian that the base images are of.
container_suite=bookworm

container_buildah() {
  TMPDIR=$container_home/tmp nice buildah --root "$container_home/storage" --runroot "$container_home/run" "$@"
}

# container_tools: buildah, runc and debootstrap, from the machine or Debian's packages.
container_tools() {
  if has buildah && has runc && has debootstrap; then return; fi
  has apt-get || return 1
  {
    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends buildah runc debootstrap
  } >&2
}

# container_base ARGUMENT STAND_IN: sets container_base to the image that this argument of Dockerfile names,
# or to the stand-in when that cannot be pulled.
container_base() {
  container_base=$(sed -n "s/^ARG $1=//p" Dockerfile)
  if container_buildah pull -q "$container_base" >/dev/null 2>"$scratch/pull"; then
    printf 'ok   %s\n' "$container_base"
    return
  fi
  printf '%s cannot be pulled (%s): a stand-in is made of Debian packages\n' "$container_base" \
    "$(tail -n 1 "$scratch/pull" | sed 's/.*: //')"
  "$2"
}

# Sets build_image and run_image, and what else the build is given: a stand-in borrows this machine's Rust,
# and the authorities that it trusts.
container_bases() {
  local authorities=/etc/ssl/certs/ca-certificates.crt
  container_base BUILD_IMAGE container_build_stand_in
  build_image=$container_base
  container_base RUN_IMAGE container_run_stand_in
  run_image=$container_base
  container_borrowed=()
  [[ $build_image == localhost/* ]] || return 0
  container_borrowed=(--volume "$(rustc --print sysroot):/usr/local/rust:ro")
  [ ! -f "$authorities" ] || container_borrowed+=(--volume "$authorities:$authorities:ro")
}

# container_commit NAME ROOT SETTING...: an image of a directory.
container_commit() {
  local name=$1 root=$2 working
  shift 2
  working=$(container_buildah from scratch)
  container_buildah add -q "$working" "$root" / >/dev/null
  container_buildah config "$@" "$working"
  container_buildah commit -q --rm "$working" "$name" >/dev/null
}

container_has() {
  container_buildah inspect --type image "$1" >/dev/null 2>&1
}

container_debian() {
  local root=$container_home/debian
  [ ! -e "$root/complete" ] || return 0
  rm -rf "$root"
  debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates "$container_suite" "$root" \
    >"$container_home/debootstrap.log" 2>&1 || die "debootstrap: $(tail -n 5 "$container_home/debootstrap.log")"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  touch "$root/complete"
}

container_build_stand_in() {
  container_base=localhost/stand-in/build:$container_suite
  ! container_has "$container_base" || return 0
  container_debian
  container_commit "$container_base" "$container_home/debian" \
    --env PATH=/usr/local/rust/bin:/usr/bin:/bin --env CARGO_HOME=/usr/local/cargo
}

container_run_stand_in() {
  local root=$container_home/minimal libraries
  container_base=localhost/stand-in/run:$container_suite
  ! container_has "$container_base" || return 0
  container_debian
  rm -rf "$root"
  mkdir -p "$root/tmp" "$root/usr/bin" "$root/var/lib"
  (
    cd "$container_home/debian" || exit
    libraries=(usr/lib/*-linux-gnu/{ld-linux-*,libgcc_s.so.1,libc.so.6,libm.so.6})
    cp -a --parents bin lib lib64 usr/lib64 "${libraries[@]}" etc/nsswitch.conf \
      etc/ssl/certs/ca-certificates.crt "$root"
  )
  printf 'root:x:0:0::/root:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n' >"$root/etc/passwd"
  container_commit "$container_base" "$root" --env PATH=/usr/bin --user 65532
}

# All files that git does not ignore, in a directory of their own, with planted secrets that must not get into an image.
container_context() {
  mkdir "$scratch/context"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$scratch/context"
  local place
  for place in .env rowgate.toml rowgate.db .git/config deploy/password target/release/rowgate; do
    mkdir -p "$scratch/context/$(dirname "$place")"
    printf 'canary-in-the-context\n' >"$scratch/context/$place"
  done
}

# container_build ARGUMENT...: as a reader would, with the bases that there are.
container_build() {
  container_buildah bud --layers --isolation chroot --network host --format docker "${container_borrowed[@]}" \
    --build-arg "BUILD_IMAGE=$build_image" --build-arg "RUN_IMAGE=$run_image" \
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
    --build-arg "REVISION=$(git rev-parse HEAD)" "$@" "$scratch/context" \
    >"$container_home/build.log" 2>&1 || die "$(tail -n 40 "$container_home/build.log")"
}

# container_mounted IMAGE: where its files are.
container_mounted() {
  container_buildah mount "$(container_buildah from --pull-never "$1")"
}

# The image holds the binary, and nothing else beside its base.
container_contents() {
  local root base sources added size
  root=$(container_mounted "$container_image")
  base=$(container_mounted "$run_image")
  sources=$(container_mounted "$container_image-build")
  added=$(comm -13 <(cd "$base" && find . ! -type d | sort) <(cd "$root" && find . ! -type d | sort))
  [ "$added" = ./usr/bin/rowgate ] || die "beside its base the image has: $added"
  echo 'ok   beside its base it has /usr/bin/rowgate, and no other file'
  added=$(find "$root" \( -type l -o -type f -perm /111 \) \
    \( -name sh -o -name '*[ackz]sh' -o -name 'busybox*' -o -name 'apt*' -o -name 'dpkg*' -o -name 'python*' \))
  [ -z "$added" ] || die "there is more to run in it: $added"
  echo 'ok   no shell, no package manager'
  added=$(grep -rl --binary-files=text canary-in-the-context "$root" "$sources/src" "$sources/out" || true)
  [ -z "$added" ] || die "secrets of the context came into an image: $added"
  echo 'ok   secrets that lie in the context are in no layer, not in those of the build either'
  size=$(du -sb "$root" | cut -f 1)
  [[ $run_image != localhost/* ]] || size=$((size - $(du -sb "$base" | cut -f 1) + container_base_size))
  [ "$size" -le "$container_limit" ] || die "the image has $((size / 1000000)) MB"
  printf 'ok   %s MB' "$((size / 1000000))"
  [[ $run_image != localhost/* ]] || printf ', the base counted with %s MB' "$((container_base_size / 1000000))"
  printf '\n'
  container_root=$root
}

# container_start NAME [NAME=VALUE | SOURCE:TARGET]...: the image as it is, in a network of its own. Sets
# container_pid, of runc, which passes signals on.
container_start() {
  local name=$1 bundle=$scratch/$1
  shift
  mkdir -p "$bundle"
  runc spec --bundle "$bundle"
  container_buildah inspect --type image "$container_image" >"$bundle/inspected"
  python3 scripts/deploy/bundle.py "$bundle/inspected" "$container_root" "$bundle" "$@"
  mapfile -t container_health <"$bundle/health"
  container_name=rowgate-verify-$$-$name
  runc --root "$scratch/runc" run --bundle "$bundle" "$container_name" >"$bundle.log" 2>&1 &
  container_pid=$!
  pids+=("$container_pid")
  container_await 0
}

container_exec() {
  runc --root "$scratch/runc" exec "$container_name" "$@"
}

# container_await STATUS: until its health check ends with this one.
container_await() {
  local end=$((SECONDS + 30)) status
  while [ "$SECONDS" -lt "$end" ]; do
    kill -0 "$container_pid" 2>/dev/null || die "the container ended: $(tail -n 3 "$scratch"/*.log)"
    status=0
    container_said=$(container_exec "${container_health[@]}" 2>&1) || status=$?
    [ "$status" -ne "$1" ] || return 0
    sleep 0.1
  done
  die "the health check does not end with $1, but with $status: $container_said"
}

# container_asked EXPECTED ARGUMENT...: what a command of the image prints, in its container.
container_asked() {
  local expected=$1 said
  shift
  said=$(container_exec /usr/bin/rowgate "$@")
  [[ $said == *"$expected"* ]] || die "rowgate $* says: $said"
  printf 'ok   rowgate %s: %s\n' "$*" "$(tail -n 1 <<<"$said")"
}

# The kernel's view of the process.
container_confined() {
  local pid line
  pid=$(runc --root "$scratch/runc" state "$container_name" | sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p')
  for line in 'Uid:	65532	65532	65532	65532' 'Gid:	65532	65532	65532	65532' 'CapEff:	0000000000000000' \
    'CapBnd:	0000000000000000' 'NoNewPrivs:	1'; do
    grep -qx "$line" "/proc/$pid/status" || die "the process is not confined: no $line"
  done
  grep -qE '^[0-9]+ [0-9]+ [^ ]+ [^ ]+ / ro[, ]' "/proc/$pid/mountinfo" || die 'its root can be written'
  echo 'ok   as 65532, without capabilities, its root file system read-only'
}

container_stop() {
  kill -TERM "$container_pid"
  wait "$container_pid" || die "SIGTERM: it ended with $?"
  echo 'ok   SIGTERM: it ends with status 0'
}

container_serves() {
  container_start postgres "$scratch/postgres:/run/postgresql" \
    "DATABASE_URL=postgres://postgres@/postgres?host=/run/postgresql&port=$postgres_port"
  container_confined
  grep -q '0.0.0.0:50051 may query the databases' "$scratch/postgres.log" || die 'it does not warn of --insecure'
  container_asked PostgreSQL query --format csv 'select version()'
}

# SERVING with its database, NOT_SERVING without it, and again.
container_healthy() {
  printf 'ok   the health check: %s\n' "$container_said"
  kill -QUIT "$postgres_pid"
  wait "$postgres_pid" || true
  postgres_pid=
  container_await 1
  [ "$container_said" = NOT_SERVING ] || die "the health check says: $container_said"
  printf 'ok   the database is unreachable: %s, status 1\n' "$container_said"
  container_asked SERVING health --service liveness
  postgres_private_resume "$scratch/postgres" "$postgres_port"
  container_await 0
  printf 'ok   the database is back: %s\n' "$container_said"
  container_stop
}

# Without any setting: SQLite, in the one directory that may be written.
container_sqlite() {
  mkdir "$scratch/data"
  chown 65532:65532 "$scratch/data"
  container_start sqlite "$scratch/data:/var/lib/rowgate"
  container_asked 42 query --format csv 'select 41 + 1 as answer'
  container_stop
  [ "$(cd "$scratch/data" && echo *)" = rowgate.db ] || die "it left: $(ls "$scratch/data")"
  echo 'ok   what it keeps is in /var/lib/rowgate'
}

verify_container() {
  if [ "$(id -u)" -ne 0 ]; then
    skipped container 'it needs root: to build without a daemon, and to run as another user'
    return
  fi
  if ! container_tools; then
    skipped container 'buildah, runc and debootstrap are neither installed nor installable (apt-get)'
    return
  fi
  mkdir -p "$container_home/tmp"
  container_buildah rm --all >/dev/null
  postgres_require
  part 'container: a PostgreSQL' start_postgres
  part 'container: base images' container_bases
  part 'container: the context' container_context
  part 'container: build' container_build --tag "$container_image"
  part 'container: its first stage' container_build --tag "$container_image-build" --target build
  part 'container: what is in it' container_contents
  part 'container: read-only, unprivileged, on PostgreSQL' container_serves
  part 'container: its health check' container_healthy
  part 'container: read-only, on SQLite' container_sqlite
  container_buildah rm --all >/dev/null
  clean_up
}
