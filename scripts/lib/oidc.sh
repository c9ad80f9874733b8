# shellcheck shell=bash
# A real OpenID provider, npm's oidc-provider, over TLS with an authority of its own. Needs common.sh, and of scripts/verify
# what starts servers.

# oidc_start: the providers, and a server of one of them. Sets oidc_port and oidc_other_port.
oidc_start() {
  scratch=$(mktemp -d)
  certificates provider
  oidc_port=$(free_port) oidc_other_port=$(free_port)
  node scripts/clients/oidc_provider.js "$oidc_port" "$oidc_other_port" "$scratch/provider.crt" "$scratch/provider.key" \
    >"$scratch/provider.log" 2>&1 &
  pids+=($!)
  await 'the provider' $! "$oidc_port" "$scratch/provider.log"
  start_server server <<TOML
[databases.main]
url = "sqlite:verify.db"
[access.jwt]
keys = "https://127.0.0.1:$oidc_port/jwks"
ca = "$scratch/ca.crt"
issuer = "https://127.0.0.1:$oidc_port"
audiences = ["https://rowgate.test"]
leeway = "0s"
[callers.shop]
subjects = ["shop"]
databases = ["main"]
rpcs = ["Query"]
read_only = false
TOML
}

verify_oidc() {
  if ! has openssl; then
    skipped oidc 'openssl is not installed'
    return
  fi
  if ! node_packages @grpc/grpc-js @grpc/proto-loader oidc-provider; then
    skipped oidc "node with npm is missing, or its packages: see $node/install.log"
    return
  fi
  part 'oidc: a provider over TLS, and a server' oidc_start
  NODE_EXTRA_CA_CERTS=$scratch/ca.crt part 'oidc: one token gets in, four do not' node scripts/clients/oidc.js \
    "$server_address" proto "https://127.0.0.1:$oidc_port" "https://127.0.0.1:$oidc_other_port" "$scratch/server.log"
  clean_up
}
