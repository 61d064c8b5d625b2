#!/usr/bin/env bash
# check_env.sh FILE: exit with 1 and a message if FILE, a list of `export NAME=value`, sets a secret.
# Ray writes the environment of jobs to log files that every user of the host can read.
set -euo pipefail

file=$1
[ -f "$file" ] || exit 0

# secrets_in FILE: line numbers and names of what FILE sets and must not. A name that ends as that of a
# path or an address is accepted; an address with a password or a signature is not.
secrets_in() {
    awk '
        function is_secret(name) {
            if (name ~ /_(FILE|PATH|DIR|URI|URL|ENDPOINT)$/) return 0
            if (name == "GOOGLE_APPLICATION_CREDENTIALS") return 0     # a path
            if (name ~ /SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|CONNECTION_STRING/) return 1
            if (name ~ /(KEY|TOKEN)S?([^A-Z]|$)/) return 1             # not TOKENIZERS_PARALLELISM
            return name ~ /(^|_)(SAS|SIG)(_|$)/
        }
        /^[[:space:]]*#/ { next }
        /:\/\/[^[:space:]]*:[^[:space:]]*@/ { print NR ": an address with a password" }
        {
            rest = $0
            while (match(rest, /[A-Za-z_][A-Za-z0-9_]*\+?=/)) {
                name = substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
                sub(/\+?=$/, "", name)
                if (is_secret(toupper(name))) print NR ": " name
            }
        }
    ' "$1"
}

if ! secrets=$(secrets_in "$file"); then
    echo "$file could not be checked for secrets."
    exit 1
fi
if [ -n "$secrets" ]; then
    cat <<MESSAGE
$file sets what looks like a secret (line number and name):
$secrets
The environment of a job ends up in Ray's logs. Move keys into files (README.md, "Keys"), then start the
cluster again. A name that ends in _FILE, _PATH, _DIR, _URI, _URL or _ENDPOINT is accepted.
MESSAGE
    exit 1
fi
