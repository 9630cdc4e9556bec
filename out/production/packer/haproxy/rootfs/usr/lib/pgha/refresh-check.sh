#!/bin/sh
# refresh-check.sh STAGE: would HAProxy take the configuration of new user-data, and
# is the node that leads still in it? Its files are below STAGE. The last line says
# why not.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
trap - EXIT # what this finds is refresh.py's to say
read_cluster refresh

config=$1/etc/haproxy/haproxy.cfg
if ! [ -e "$config" ]; then
	echo 'there is no /etc/haproxy/haproxy.cfg in it'
	exit 1
fi
# Its other files are the new ones, too.
staged=$(printf '%s' "$1/etc/haproxy/" | sed 's/[\\&|]/\\&/g')
sed "s|/etc/haproxy/|$staged|g" "$config" >"$1/haproxy.cfg"
if ! errors=$(as_service haproxy -c -f "$1/haproxy.cfg" 2>&1); then
	printf '%s\n' "$errors" | grep ALERT | head -n 1 | sed "s|$1/haproxy.cfg|haproxy.cfg|" | grep . ||
		echo 'haproxy -c refuses /etc/haproxy/haproxy.cfg'
	exit 1
fi
# Writers would have nobody to go to.
for node in $(as_service "$PGHA_LIB/servers_state.py" leaders 2>/dev/null || :); do
	if ! grep -q "^ *server $node " "$config"; then
		echo "$node leads and is not in the new spec: switch over first"
		exit 1
	fi
done
