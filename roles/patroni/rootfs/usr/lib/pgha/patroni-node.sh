#!/bin/sh
# Tells Patroni which node it is: its addresses as environment, its tags and its
# secrets as files beside the cluster's. Patroni merges the files of a folder.
# All of it is root's: the user that Patroni runs as must not write what
# root reads at the next start.
set -eu
umask 022 # the unit's is stricter; Patroni reads what is made here
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
PGHA_PATRONI_ETC=${PGHA_PATRONI_ETC:-/etc/patroni}
PGHA_WATCHDOG_DEVICE=${PGHA_WATCHDOG_DEVICE:-/dev/watchdog}
PGHA_HUGE_PAGES_POOL=${PGHA_HUGE_PAGES_POOL:-/proc/sys/vm/nr_hugepages}
run=$PGHA_RUN/patroni
read_cluster patroni-node
read_identity patroni-node

# reserve_huge_pages: all that PostgreSQL needs, or none. It cannot use a part of
# them, and nobody else could use the rest.
reserve_huge_pages() {
	if ! { printf '%s\n' "$PGHA_HUGE_PAGES" >"$PGHA_HUGE_PAGES_POOL"; } 2>/dev/null; then
		notes="$notes, no huge pages on this machine"
	elif [ "$(cat "$PGHA_HUGE_PAGES_POOL")" -lt "$PGHA_HUGE_PAGES" ]; then
		printf '0\n' >"$PGHA_HUGE_PAGES_POOL"
		notes="$notes, no huge pages: there are not $PGHA_HUGE_PAGES free ones"
	fi
}

if [ -n "${PGHA_DATA_DEVICE:-}" ] && ! mountpoint -q "$PGHA_DATA_MOUNT"; then
	fail patroni-node "the data disk is not mounted on $PGHA_DATA_MOUNT: see what pgha-disk said"
fi
notes=
# A kernel may have no watchdog; Patroni is to open the one that there is.
if [ "$PGHA_WATCHDOG" != off ]; then
	modprobe softdog 2>/dev/null || :
	if [ -e "$PGHA_WATCHDOG_DEVICE" ]; then
		# With watchdog required, Patroni itself does not lead without it.
		chown "$PGHA_SERVICE_USER" "$PGHA_WATCHDOG_DEVICE" || notes="$notes, a watchdog that Patroni cannot have"
	elif [ "$PGHA_WATCHDOG" = required ]; then
		fail patroni-node "there is no $PGHA_WATCHDOG_DEVICE, and watchdog is required: bake an image whose kernel has softdog, or choose watchdog automatic"
	else
		notes="$notes, no watchdog"
	fi
fi
# initdb makes its directory itself, but not the one above. A kept disk may hold
# a link there, which install would follow.
above=${PGHA_PGDATA%/*}
if [ -L "$above" ]; then
	fail patroni-node "$above is a link, not a directory of the data disk: nothing was changed; remove it, or attach an empty disk"
fi
install -d -o "$PGHA_SERVICE_USER" -g "$PGHA_SERVICE_USER" -m 0700 "$above"

mkdir -p "$run"
config=$run/config
# secrets-apply.sh may be changing what is there.
exec 9>>"$run/lock"
flock 9
rm -rf "$config.new"
mkdir "$config.new"
ln -s "$PGHA_PATRONI_ETC/config.yml" "$config.new/10-cluster.yml"
if [ -e "$PGHA_PATRONI_ETC/nodes/$NODE_NAME.yml" ]; then
	ln -s "$PGHA_PATRONI_ETC/nodes/$NODE_NAME.yml" "$config.new/20-node.yml"
fi
# Without a bootstrap section Patroni never runs initdb: it waits for a leader.
if [ -e "$PGHA_PGDATA/PG_VERSION" ]; then
	remember_service
	"$PGHA_LIB/adopt.py" data
elif may_bootstrap; then
	ln -s "$PGHA_PATRONI_ETC/bootstrap.yml" "$config.new/30-bootstrap.yml"
	notes="$notes, may bootstrap the cluster"
else
	notes="$notes, bootstraps no cluster: $reason"
	"$PGHA_LIB/adopt.py" empty
fi
if ! errors=$("$PGHA_LIB/patroni-secrets.sh" "$config.new"); then
	fail patroni-node "$errors"
fi
rm -rf "$config"
mv "$config.new" "$config"
# While the disk is full this node does not take over. disk_full.py takes the
# tag away when there is no such file any more, be it just now.
if [ -e "$PGHA_RUN/disk-full" ]; then
	ln -sf "$PGHA_LIB/nofailover.yml" "$config/40-disk-full.yml"
	notes="$notes, does not take over: its disk is full"
	if ! [ -e "$PGHA_RUN/disk-full" ]; then
		rm -f "$config/40-disk-full.yml"
	fi
fi

reserve_huge_pages

host=$NODE_ADDRESS
if [ "$PGHA_REACHED_BY" = name ]; then
	host=$NODE_FQDN
fi
{
	printf 'PATRONI_NAME=%s\n' "$NODE_NAME"
	printf 'PATRONI_POSTGRESQL_LISTEN=%s:%s\n' "$NODE_ADDRESS" "$PGHA_POSTGRESQL_PORT"
	printf 'PATRONI_POSTGRESQL_CONNECT_ADDRESS=%s:%s\n' "$host" "$PGHA_POSTGRESQL_PORT"
	printf 'PATRONI_RESTAPI_LISTEN=%s:%s\n' "$NODE_ADDRESS" "$PGHA_REST_PORT"
	printf 'PATRONI_RESTAPI_CONNECT_ADDRESS=%s:%s\n' "$host" "$PGHA_REST_PORT"
} >"$run/node.env.new"
mv "$run/node.env.new" "$run/node.env"
say patroni-node ok "$NODE_NAME at $host:$PGHA_POSTGRESQL_PORT$notes"
