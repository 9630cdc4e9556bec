#!/bin/sh
# pgbackrest-push.sh PATH: PostgreSQL's archive_command. pgBackRest drops WAL rather than
# let it fill the disk (archive-push-queue-max). The mark that it did so makes
# backup.py begin a new backup; it says why a push fails, too.
set -eu
lib=${PGHA_LIB:-/usr/lib/pgha}
run=${PGHA_POSTGRESQL_RUN:-/run/postgresql}
status=0
said=$("$lib/pgbackrest.sh" own archive-push "$1" 2>&1) || status=$?
if [ -n "$said" ]; then
	printf '%s\n' "$said" >&2
fi
case $said in
*'dropped WAL file'*) : >"$run/archive-gap" ;;
esac
if [ "$status" != 0 ]; then
	printf '%s\n' "$said" | "$lib/complaint.py" >"$run/archive-says.new"
	chmod 0644 "$run/archive-says.new" # backup.py is root without rights
	mv "$run/archive-says.new" "$run/archive-says"
fi
exit "$status"
