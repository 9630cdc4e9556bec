#!/bin/sh
# Gives the machines that are there the user-data that was rendered last, with
# Yandex Cloud's yc. They take it over while they run, and say on their consoles
# what took effect. Safe to run again: the same user-data changes nothing.
#
#   sh refresh.sh               all machines
#   sh refresh.sh ROLE|NODE     those of a role, or one
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

if [ $# -gt 1 ] || [ "${1-all}" = '' ]; then
	stop 2 "want no argument, for all machines, or a role or a machine"
fi
WANTED=${1-} KNOWN='' THERE=''

# refresh ROLE NODE...: those of a role that are wanted.
refresh() {
	role=$1
	shift
	for node; do
		case $WANTED in
		'' | "$role" | "$node") ;;
		*) continue ;;
		esac
		KNOWN=yes
		if ! there "$INSTANCES" machine "$node"; then
			echo "machine $node: not there"
			continue
		fi
		THERE=yes
		yc compute instance add-metadata --folder-id "$FOLDER" --name "$node" \
			--metadata-from-file "user-data=../user-data/$role.yaml" >/dev/null
		echo "machine $node: has the user-data of $role"
	done
}

finish() {
	if [ -z "$KNOWN" ]; then
		stop 2 "the cluster has no role and no machine $WANTED"
	fi
	if [ -z "$THERE" ]; then
		stop 1 "folder $FOLDER has none of these machines (create them: sh create.sh)"
	fi
}
