#!/bin/sh
# What the scripts of this folder share: it stands behind the first paragraph of
# each.

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
