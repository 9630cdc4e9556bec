#!/bin/sh
# refresh-check.sh STAGE: would Patroni and PostgreSQL take new user-data? Its files
# are below STAGE. The last line says why not.
set -eu
exec "${PGHA_LIB:-/usr/lib/pgha}/check_parameters.py" "$1"
