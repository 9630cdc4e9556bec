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
