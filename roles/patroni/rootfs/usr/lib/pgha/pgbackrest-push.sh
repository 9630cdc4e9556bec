#!/bin/sh
# pgbackrest-push.sh PATH: PostgreSQL's archive_command. pgBackRest drops WAL rather than
# let it fill the disk (archive-push-queue-max). The mark that it did so makes
# backup.py begin a new backup.
set -eu
status=0
said=$("${PGHA_LIB:-/usr/lib/pgha}/pgbackrest.sh" own archive-push "$1" 2>&1) || status=$?
if [ -n "$said" ]; then
	printf '%s\n' "$said" >&2
fi
case $said in
*'dropped WAL file'*) : >"${PGHA_ARCHIVE_GAP:-/run/postgresql/archive-gap}" ;;
esac
exit "$status"
