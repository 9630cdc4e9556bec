#!/bin/sh
# What Patroni starts as postgres: the server. The settings that run commands
# are pinned on its command line, where nothing overrides them: Patroni takes
# restore_command and archive_cleanup_command from etcd, too, so that who writes
# there would run programs here. And it replicates only from a server that
# proves to know the password, which no other machine of the cluster does.
set -eu
lib=${PGHA_LIB:-/usr/lib/pgha}
server=$(echo "${PGHA_POSTGRESQL:-/usr/lib/postgresql}"/*/bin/postgres)
export PGREQUIREAUTH=scram-sha-256
restore=
if [ "${1-}" = -D ] && [ -e "$2/recovery.signal" ]; then
	# Only a cluster that is founded from backups has that file. What the server
	# says meanwhile, restore.sh reads if it fails.
	restore="$lib/pgbackrest.sh source --log-level-console=warn archive-get %f %p"
	log=${PGHA_POSTGRESQL_RUN:-/run/postgresql}/restore.log
	rm -f "$log" "$log.pipe"
	mkfifo -m 600 "$log.pipe"
	tee "$log" <"$log.pipe" >&2 &
	exec 2>"$log.pipe"
	rm "$log.pipe"
fi
case ${1-} in
# Only a server restores; --version and --single do not.
-D) exec "$server" "$@" -c restore_command="$restore" -c archive_cleanup_command= -c recovery_end_command= ;;
*) exec "$server" "$@" ;;
esac
