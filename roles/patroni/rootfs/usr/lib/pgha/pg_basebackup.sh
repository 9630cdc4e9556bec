#!/bin/sh
# Copies from a server that proves to know the password, and from no other.
set -eu
export PGREQUIREAUTH=scram-sha-256
program=$(echo "${PGHA_POSTGRESQL:-/usr/lib/postgresql}"/*/bin/pg_basebackup)
for argument; do
	case $argument in
	--pgdata=*) exec "${PGHA_LIB:-/usr/lib/pgha}/clone.sh" "${argument#--pgdata=}" "$program" "$@" ;;
	esac
done
exec "$program" "$@"
