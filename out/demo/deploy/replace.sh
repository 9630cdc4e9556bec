#!/bin/sh
# Replaces a machine by a new one, from the newest image of its role, with
# Yandex Cloud's yc. It gets the data disk of the old one. Safe to run again.
# Replace one machine at a time, once all are ready; from one that leads, switch
# over first: pgha-gen cluster switchover
#
#   sh replace.sh NODE          keeps its data disk
#   sh replace.sh NODE disk     with an empty one: the data is copied again
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

stop() { # stop STATUS SENTENCE
	echo "${0##*/}: $2" >&2
	exit "$1"
}

# list SERVICE KIND: what the folder has, a line for each: its name, id, state
# and cluster. Not knowing it ends the script: what only seems to be missing must
# be neither made anew, as a machine that may bootstrap a cluster, nor taken for
# deleted.
list() {
	found=$(yc "$1" "$2" list --folder-id "$FOLDER" --format json) || stop 1 "cannot list what is there: see what yc says above"
	case $found in
	'['*) ;;
	*) stop 1 "yc $1 $2 list --format json gave no list" ;;
	esac
	printf '%s\n' "$found" | jq -r '.[] | "\(.name) \(.id) \(.status) \(.labels["pgha-cluster"] // "")"'
}

# pick LIST NAME: the $id, $state and $owner of what is in the list; or no $id.
# shellcheck disable=SC2034 # replace.sh uses the state
pick() {
	id='' state='' owner=''
	case "
$1" in
	*"
$2 "*) ;;
	*) return ;;
	esac
	rest="
$1"
	rest=${rest#*"
$2 "}
	IFS=' ' read -r id state owner <<END
$rest
END
}

# there LIST KIND NAME: whether it is in the list; then its id is in $id. What
# is there and is not this cluster's ends the script.
there() {
	pick "$1" "$3"
	if [ -z "$id" ]; then return 1; fi
	if [ "$owner" != "$CLUSTER" ]; then
		stop 1 "$2 $3 is there and is not this cluster's: its label pgha-cluster is \"$owner\", not \"$CLUSTER\" (delete it, or choose another name in the spec)"
	fi
}

# all SERVICE KIND: that list in $all, which is asked for once for things of the
# same kind behind each other.
LISTED=''
# shellcheck disable=SC2034 # create.sh and destroy.sh use it
all() {
	if [ "$LISTED" != "$1 $2" ]; then
		all=$(list "$1" "$2")
		LISTED="$1 $2"
	fi
}

command -v yc >/dev/null || stop 1 "yc is not installed (https://yandex.cloud/en/docs/cli)"
command -v jq >/dev/null || stop 1 "jq is not installed (it is a package of that name)"

case "$# ${2-disk}" in
'1 disk' | '2 disk') ;;
*) stop 2 "want a machine, and disk if it shall have an empty data disk" ;;
esac
NODE=$1 MEMBERS='' DATA='' id=''

# role yes|no NODE...: the machines of a role, and whether they have data disks.
role() {
	data=$1
	shift
	for node; do
		if [ "$node" = "$NODE" ]; then
			MEMBERS="$*" DATA=$data
		fi
	done
}

replace() {
	if [ -z "$MEMBERS" ]; then
		stop 2 "the cluster has no machine $NODE"
	fi
	others=''
	for node in $MEMBERS; do
		if [ "$node" = "$NODE" ]; then continue; fi
		others=yes
		if ! there "$INSTANCES" machine "$node"; then
			stop 1 "machine $node of the same role is not there (sh create.sh, and replace $NODE once it is ready)"
		fi
		# shellcheck disable=SC2154 # common.sh sets it
		if [ "$state" != RUNNING ]; then
			stop 1 "machine $node of the same role is $state (replace $NODE once it is ready)"
		fi
	done
	if [ "${1-}" = disk ] && [ "$DATA" = no ]; then
		stop 2 "machine $NODE has no data disk"
	fi
	if [ "${1-}" = disk ] && [ -z "$others" ]; then
		stop 1 "machine $NODE is the only one of its role, and its data is on no other (leave out disk)"
	fi
	if there "$INSTANCES" machine "$NODE"; then
		yc compute instance delete --id "$id" >/dev/null ||
			stop 1 "cannot delete machine $NODE: see what yc says above (then run this again)"
		echo "machine $NODE: deleted"
	fi
	if [ "${1-}" = disk ] && there "$DISKS" disk "$NODE-data"; then
		yc compute disk delete --id "$id" >/dev/null ||
			stop 1 "cannot delete disk $NODE-data: see what yc says above (then run this again)"
		echo "disk $NODE-data: deleted"
	fi
	exec sh ./create.sh
}

FOLDER=b1gexample
CLUSTER=demo
role yes demo-etcd-1 demo-etcd-2 demo-etcd-3
role yes demo-pg-1 demo-pg-2 demo-pg-3
role no demo-haproxy-1
DISKS=$(list compute disk)
INSTANCES=$(list compute instance)
replace "${2-}"
