#!/bin/sh
# Ready: PostgreSQL runs on this node, as leader or as replica. The last line
# says what it is, or what is missing.
set -eu
run=${PGHA_RUN:-/run/pgha}
# shellcheck source=/dev/null
. "${PGHA_ETC:-/etc/pgha}/cluster.env"
# shellcheck source=/dev/null
. "$run/identity.env"

if ! answer=$(curl -q -s --noproxy '*' --max-time 5 --cacert "$run/secrets/ca.crt" \
	"https://$NODE_ADDRESS:$PGHA_REST_PORT/patroni"); then
	echo "Patroni does not answer on $NODE_ADDRESS:$PGHA_REST_PORT"
	exit 1
fi
state=$(printf '%s' "$answer" | jq -r '"\(.role // "no role yet") \(.state // "unknown")"')
case $state in
*' running' | *' streaming')
	echo "PostgreSQL: $state"
	;;
*)
	echo "PostgreSQL is not there yet: $state"
	exit 1
	;;
esac
