#!/bin/sh
# pgbackrest.sh own|source ARGUMENT...: pgBackRest with the cluster's own backups,
# or with those that it is founded from. The pass phrase goes by environment, which
# no other user sees.
set -eu
etc=${PGHA_PGBACKREST_ETC:-/etc/pgbackrest}
secrets=${PGHA_RUN:-/run/pgha}/secrets
passphrase=$secrets/backup.passphrase
case $1 in
own) config=$etc/pgbackrest.conf ;;
source)
	config=$etc/restore.conf
	if [ -e "$secrets/restore.passphrase" ]; then
		passphrase=$secrets/restore.passphrase
	fi
	;;
*)
	echo "pgbackrest.sh: \"$1\" is neither own nor source" >&2
	exit 2
	;;
esac
shift
if [ -e "$passphrase" ]; then
	PGBACKREST_REPO1_CIPHER_PASS=$(cat "$passphrase")
	export PGBACKREST_REPO1_CIPHER_PASS
fi
exec pgbackrest --config="$config" --stanza=main "$@"
