#!/bin/sh
# contract.sh: refuses user-data and an image that do not fit together.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster contract

manifest=$PGHA_LIB/manifest.json

of_image() {
	jq -r --arg key "$1" '.[$key] // empty' "$manifest"
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
	found=$(jq -r --arg name "$name" '[.components[] | select(.name == $name) | .version][0] // empty' "$manifest")
	if [ -z "$found" ]; then
		fail contract "user-data requires $1, but the image has no $name: create the machine from an image of role $PGHA_ROLE"
	fi
	if ! dpkg --compare-versions "$found" "$relation" "$wanted"; then
		fail contract "user-data requires $1, but the image has $name $found: bake the image again, or render user-data for $name $found"
	fi
}

if ! jq -e '.format == "pgha-image/v1"' "$manifest" >/dev/null 2>&1; then
	fail contract "cannot read $manifest: this image was not baked by pgha-gen; bake it again"
fi

role=$(of_image role)
if [ "$role" != "$PGHA_ROLE" ]; then
	fail contract "user-data is for role $PGHA_ROLE, but the image is for role $role: create the machine from an image of role $PGHA_ROLE"
fi

contract=$(of_image contract)
if [ "$contract" != "$PGHA_CONTRACT" ]; then
	fail contract "user-data speaks contract $PGHA_CONTRACT, but the image speaks contract $contract: bake the image and render user-data with the same pgha-gen"
fi

for requirement in ${PGHA_REQUIRES:-}; do
	require "$requirement"
done

say contract ok "role $role, contract $contract, image $(of_image recipe)"
