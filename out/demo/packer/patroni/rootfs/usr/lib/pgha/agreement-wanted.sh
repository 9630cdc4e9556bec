#!/bin/sh
# agreement-wanted.sh: whether the spec asks for failover by agreement, or this
# node is still cut off from a leader by one.
set -eu
[ -e "${PGHA_STATE:-/var/lib/pgha}/agreement.json" ] || grep -q '^PGHA_AGREEMENT=[1-9]' "${PGHA_ETC:-/etc/pgha}/cluster.env"
