#!/bin/sh
# contract.sh: refuses user-data and an image that do not fit together.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster contract

manifest=$PGHA_LIB/manifest.json

# take: the first line of $image, in $taken; the others stay.
take() {
	taken=${image%%"$newline"*}
	image=${image#*"$newline"}
}

# require NAME>=VERSION, or NAME<VERSION: refuses another version of a
# component.
require() {
	name=${1%%[<>=]*}
	case $1 in
	*'>='*) relation=ge ;;
	*'<'[!=]*) relation=lt ;;
	*) fail contract "user-data requires \"$1\", which this image does not understand: render user-data again with the pgha-gen that made the image" ;;
	esac
	wanted=${1##*[<>=]}
	case $components in
	*"$newline$name="[!"$newline"]*) ;;
	*) fail contract "user-data requires $1, but the image has no $name: create the machine from an image of role $PGHA_ROLE" ;;
	esac
	found=${components#*"$newline$name="}
	found=${found%%"$newline"*}
	if ! dpkg --compare-versions "$found" "$relation" "$wanted"; then
		fail contract "user-data requires $1, but the image has $name $found: bake the image again, or render user-data for $name $found"
	fi
}

# Asked once: each jq that starts delays the boot.
if ! image=$(jq -r 'if .format != "pgha-image/v1" then error("") else . end |
	.role, .contract, .recipe, (.components[] | "\(.name)=\(.version)")' "$manifest" 2>/dev/null); then
	fail contract "cannot read $manifest: this image was not baked by pgha-gen; bake it again"
fi
image=$image$newline

take
if [ "$taken" != "$PGHA_ROLE" ]; then
	fail contract "user-data is for role $PGHA_ROLE, but the image is for role $taken: create the machine from an image of role $PGHA_ROLE"
fi

take
if [ "$taken" != "$PGHA_CONTRACT" ]; then
	fail contract "user-data speaks contract $PGHA_CONTRACT, but the image speaks contract $taken: bake the image and render user-data with the same pgha-gen"
fi

take
components=$newline$image
for requirement in ${PGHA_REQUIRES:-}; do
	require "$requirement"
done

say contract ok "role $PGHA_ROLE, contract $PGHA_CONTRACT, image $taken"
