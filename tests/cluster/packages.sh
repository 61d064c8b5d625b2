#!/bin/sh
# packages.sh PYTHON: install the Debian packages of the laboratory that are missing, if allowed.
set -eu
missing=$("$1" -m tests.cluster.lab packages)
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian packages for the cluster tests: $missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # shellcheck disable=SC2086  # a list of words
    apt-get -qq install --yes --no-install-recommends $missing >/dev/null
fi
