#!/bin/sh
# Creates what is missing of the cluster, with Yandex Cloud's yc. Safe to run
# again: a disk or machine that is there is left as it is, so a lost machine is
# replaced by deleting what is left of it and running this once more.
#
#   sh create.sh            create disks and machines
#   sh create.sh finish     once all machines are ready: take back the permission
#                           to bootstrap, so that no machine ever starts a second cluster
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

case "$# ${1-}" in
'0 ' | '1 finish') ;;
*) stop 2 "want no argument, to create the machines, or finish, once all machines are ready" ;;
esac

look() {
	DISKS=$(list disk)
	INSTANCES=$(list instance)
}

# bootstrap_members NODE...: the machines of a role that bootstraps its part of
# the cluster. They may do so only if none of them is there yet: beside an
# existing one, the others join.
BOOTSTRAP_MEMBERS='' PERMITTED=''
bootstrap_members() {
	BOOTSTRAP_MEMBERS="$BOOTSTRAP_MEMBERS $*"
	for node; do
		if has "$INSTANCES" "$node"; then return; fi
	done
	PERMITTED="$PERMITTED $*"
}

disk() { # disk NAME ARGUMENT...
	name=$1
	shift
	if has "$DISKS" "$name"; then
		echo "disk $name: there already"
		return
	fi
	echo "disk $name: creating"
	yc compute disk create --folder-id "$FOLDER" --name "$name" "$@" >/dev/null
}

machine() { # machine NAME ARGUMENT...
	name=$1
	shift
	if has "$INSTANCES" "$name"; then
		echo "machine $name: there already"
		return
	fi
	case "$PERMITTED " in
	*" $name "*) set -- "$@" --metadata "pgha-bootstrap=$TOKEN" ;;
	esac
	echo "machine $name: creating"
	yc compute instance create --folder-id "$FOLDER" --name "$name" --hostname "$name" "$@" >/dev/null
}

finish() {
	there=''
	for node in $BOOTSTRAP_MEMBERS; do
		if ! has "$INSTANCES" "$node"; then
			echo "machine $node: not there"
			continue
		fi
		there=yes
		yc compute instance remove-metadata --folder-id "$FOLDER" --name "$node" --keys pgha-bootstrap >/dev/null
		echo "machine $node: may no longer bootstrap a cluster"
	done
	if [ -n "$BOOTSTRAP_MEMBERS" ] && [ -z "$there" ]; then
		stop 1 "folder $FOLDER has none of these machines (create them first, without an argument)"
	fi
	exit 0
}
