#!/bin/sh
# Ready: HAProxy answers, and knows a node that leads. The last line says so, or
# what is missing.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
trap - EXIT # what this finds is ready.sh's to say
read_cluster ready

code=$(curl -q -s --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' \
	"http://127.0.0.1:$PGHA_STATS_PORT/health") || :
case $code in
200) echo 'HAProxy sends writers to a leader' ;;
503)
	echo 'HAProxy runs, and no node leads yet'
	exit 1
	;;
*)
	echo "HAProxy does not answer on port $PGHA_STATS_PORT"
	exit 1
	;;
esac
