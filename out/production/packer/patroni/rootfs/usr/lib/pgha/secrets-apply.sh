#!/bin/sh
# secrets-apply.sh FILE...: these secrets have changed. Patroni and PostgreSQL
# read them again, and no session ends; users' passwords are for the node that
# leads to set. The last line says what happened. Status 75: not yet.
set -eu
lib=${PGHA_LIB:-/usr/lib/pgha}
run=${PGHA_RUN:-/run/pgha}/patroni

own=
for file; do
	case $file in
	password.*) ;;
	*) own=yes ;;
	esac
done
if [ -z "$own" ]; then
	echo 'the node that leads sets it in PostgreSQL'
	exit 0
fi
state=$(systemctl show --property ActiveState --value patroni.service)
case $state in
active | reloading) ;;
activating)
	echo 'Patroni is just starting'
	exit 75
	;;
*)
	echo 'Patroni reads them when it starts'
	exit 0
	;;
esac
# patroni-node.sh may be making the folder anew.
exec 9>>"$run/lock"
flock 9
"$lib/patroni-secrets.sh" "$run/config"
if ! errors=$(systemctl reload patroni.service 2>&1); then
	printf 'Patroni does not reload: %s\n' "$errors" | tr '\n' ' '
	exit 1
fi
echo 'Patroni and PostgreSQL read them'
