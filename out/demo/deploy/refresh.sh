#!/bin/sh
# Gives the machines that are there the user-data that was rendered last, with
# Yandex Cloud's yc. They take it over while they run, and say on their consoles
# what took effect. Safe to run again: the same user-data changes nothing.
#
#   sh refresh.sh               all machines
#   sh refresh.sh ROLE|NODE     those of a role, or one
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

FOLDER=b1gexample
CLUSTER=demo
INSTANCES=$(list compute instance)
refresh etcd demo-etcd-1 demo-etcd-2 demo-etcd-3
refresh patroni demo-pg-1 demo-pg-2 demo-pg-3
refresh haproxy demo-haproxy-1
finish
