#!/bin/sh
# What Patroni starts as postgres: the server. The settings that run commands
# are pinned on its command line, where nothing overrides them: Patroni takes
# restore_command and archive_cleanup_command from etcd, too, so that who writes
# there would run programs here. And it replicates only from a server that
# proves to know the password, which no other machine of the cluster does.
set -eu
server=$(echo "${PGHA_POSTGRESQL:-/usr/lib/postgresql}"/*/bin/postgres)
export PGREQUIREAUTH=scram-sha-256
case ${1-} in
# Only a server restores; --version and --single do not.
-D) exec "$server" "$@" -c restore_command= -c archive_cleanup_command= -c recovery_end_command= ;;
*) exec "$server" "$@" ;;
esac
