#!/bin/sh
# Before Patroni starts, as postgres: removes what is left of a copy of the database
# whose making was cut off. Patroni would wait for ever beside it, or start PostgreSQL
# without the WAL that it needs.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster clone-clean
mark=$PGHA_PGDATA.unfinished
if ! [ -e "$mark" ]; then
	exit 0
fi
if [ -e "$PGHA_PGDATA/global/pg_control" ] && ! [ -e "$PGHA_PGDATA/backup_label" ]; then
	# A database that was started. It came later than the mark.
	rm -f "$mark"
elif flock --nonblock "$mark" rm -rf "$PGHA_PGDATA"; then # whoever still makes it, holds it
	rm -f "$mark"
	echo "clone-clean.sh: removed a copy of the database that was not finished"
fi
