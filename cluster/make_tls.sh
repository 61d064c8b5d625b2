#!/usr/bin/env bash
# make_tls.sh HOST...: certificates for encrypted connections between the nodes of a cluster.
#
# Give every address and name by which the nodes reach each other, the head's included:
#
#     ./make_tls.sh 192.0.2.10 192.0.2.11 192.0.2.12
#
# Writes ~/.lorac-sweeps/tls/{ca.crt,node.crt,node.key}. `ray up` copies the folder to every host, and
# environment.sh switches TLS on where it exists. The key of the certificate authority is deleted:
# to add a host, make all certificates again.
set -euo pipefail
umask 077

[ $# -gt 0 ] || {
    echo "usage: make_tls.sh HOST..." >&2
    exit 2
}

names=DNS:localhost,IP:127.0.0.1
for host; do
    case $host in
    *[!0-9.]*) names+=,DNS:$host ;;
    *) names+=,IP:$host ;;
    esac
done

folder=$HOME/.lorac-sweeps/tls
mkdir -p "$folder"
cd "$folder"
trap 'rm -f ca.key node.csr' EXIT
openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=lorac-sweeps-ca \
    -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey rsa:3072 -nodes -subj /CN=lorac-sweeps-node \
    -keyout node.key -out node.csr 2>/dev/null
openssl x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out node.crt \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names") 2>/dev/null
rm -f ca.srl
echo "$folder: valid for 365 days, for $names"
