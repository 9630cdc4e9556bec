#!/bin/sh
# Creates what is missing of the cluster, with Yandex Cloud's yc. Safe to run
# again: a disk or machine that is there is left as it is, so a lost machine is
# replaced by deleting what is left of it and running this once more.
#
#   sh create.sh            create disks and machines
#   sh create.sh formed     once the cluster has formed: take back the permission
#                           to found it, so that no machine can ever found another
set -eu
cd "$(dirname "$0")"

command -v yc >/dev/null || {
	echo "create.sh: yc is not installed (https://yandex.cloud/en/docs/cli)" >&2
	exit 1
}

exists() { # exists disk|instance NAME
	yc compute "$1" get --folder-id "$FOLDER" --name "$2" >/dev/null 2>&1
}

# founders TOKEN NODE...: the machines that found the cluster. They may do so
# only if none of them is there yet: beside an existing one, the others join.
founders() {
	TOKEN=$1 FOUNDING=yes
	shift
	FOUNDERS=$*
	for node; do
		if exists instance "$node"; then FOUNDING=no; fi
	done
}

disk() { # disk NAME ARGUMENT...
	name=$1
	shift
	if exists disk "$name"; then
		echo "disk $name: there already"
		return
	fi
	echo "disk $name: creating"
	yc compute disk create --folder-id "$FOLDER" --name "$name" "$@" >/dev/null
}

machine() { # machine NAME ARGUMENT...
	name=$1
	shift
	if exists instance "$name"; then
		echo "machine $name: there already"
		return
	fi
	case "$FOUNDING $FOUNDERS " in
	"yes "*"$name "*) set -- "$@" --metadata "pgha-bootstrap=$TOKEN" ;;
	esac
	echo "machine $name: creating"
	yc compute instance create --folder-id "$FOLDER" --name "$name" --hostname "$name" "$@" >/dev/null
}

formed() {
	for node in $FOUNDERS; do
		yc compute instance remove-metadata --folder-id "$FOLDER" --name "$node" --keys pgha-bootstrap >/dev/null
		echo "machine $node: may found no cluster any more"
	done
	exit 0
}
