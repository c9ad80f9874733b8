#!/bin/sh
# Makes an authority and, signed by it, the certificate that the server shows; again when less than a week is left of it.
# The authority's key is not kept: it signs nothing else.
#
#   certificates.sh DIRECTORY OWNER
set -eu
cd "$1"
owner=$2

if [ -s tls.crt ] && openssl x509 -in tls.crt -noout -checkend 604800 >/dev/null; then
  echo "the certificate is there already"
  exit
fi

umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'subjectAltName=DNS:localhost,DNS:rowgate,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >"$work/extensions"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=Rowgate's compose project" \
  -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=rowgate \
  -keyout "$work/tls.key" -out "$work/tls.csr" 2>/dev/null
openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 365 \
  -extfile "$work/extensions" -out "$work/tls.crt" 2>/dev/null
chmod 644 "$work/ca.crt" "$work/tls.crt"

# The file of tokens, without one. `rowgate token` replaces it, and so needs the directory, too.
[ -e tokens ] || : >tokens
cp "$work/ca.crt" "$work/tls.key" "$work/tls.crt" .
chmod 644 ca.crt tls.crt
chown "$owner" . ca.crt tls.crt tls.key tokens
echo "a certificate for localhost and rowgate was made"
