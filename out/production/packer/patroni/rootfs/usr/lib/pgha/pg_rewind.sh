#!/bin/sh
# Rewinds from a server that proves to know the password, and from no other.
set -eu
export PGREQUIREAUTH=scram-sha-256
exec "$(echo "${PGHA_POSTGRESQL:-/usr/lib/postgresql}"/*/bin/pg_rewind)" "$@"
