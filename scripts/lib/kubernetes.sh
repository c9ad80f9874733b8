# shellcheck shell=bash
# The Kubernetes manifests: rendered, validated, and their probes sent to the real binary. Needs common.sh
# and postgres.sh, and the functions of scripts/verify.

kubernetes_rendered=(base overlays/development overlays/development-mariadb overlays/production)

# Renders each into a directory of its own, $scratch/kubernetes/NAME.
kubernetes_render() {
  local each to
  for each in "${kubernetes_rendered[@]}"; do
    to=$scratch/kubernetes/${each##*/}
    mkdir -p "$to"
    kubectl kustomize "deploy/kubernetes/$each" >"$to/rendered.yaml"
  done
}

kubernetes_validate() {
  "$python/bin/python" scripts/deploy/manifests.py "$scratch"/kubernetes/*
}

# The ConfigMaps hold valid configurations. Certificates of databases are not available here.
kubernetes_configurations() {
  local each
  mkdir -p "$scratch"/secrets/{rowgate,tls}
  printf 'secret\n' >"$scratch/secrets/rowgate/password"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=rowgate \
    -keyout "$scratch/secrets/tls/tls.key" -out "$scratch/secrets/tls/tls.crt" 2>/dev/null
  for each in "$scratch"/kubernetes/*/rowgate.toml; do
    sed -i.rendered -e "s#/run/secrets/#$scratch/secrets/#" -e '/^tls\./d' "$each"
    "$server_bin" config show --insecure --config "$each" >/dev/null
    mv "$each.rendered" "$each"
  done
}

kubernetes_probes() {
  "$python/bin/python" scripts/deploy/probes.py "$scratch/kubernetes/production" "$server_bin" \
    "127.0.0.1:$postgres_port"
}

verify_kubernetes() {
  if ! has kubectl; then
    skipped kubernetes 'kubectl is not installed'
    return
  fi
  if ! python_packages kubernetes-validate grpcio-health-checking pyyaml; then
    skipped kubernetes 'kubernetes-validate or grpcio-health-checking could not be installed (python3 with venv)'
    return
  fi
  postgres_require
  part 'kubernetes: a PostgreSQL, and a binary' start_probed
  part 'kubernetes: manifests' kubernetes_render
  part 'kubernetes: validation, references, Pod Security' kubernetes_validate
  part 'kubernetes: configurations' kubernetes_configurations
  part 'kubernetes: probes, as kubelet asks them' kubernetes_probes
  clean_up
}

# A PostgreSQL with the role and the database that the manifests name.
start_probed() {
  start_postgres
  server_binary
  "$ROWGATE_PG_BIN/psql" -q -d "$postgres_url" -c 'create role rowgate login' \
    -c 'create database shop owner rowgate'
}
