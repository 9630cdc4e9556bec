#!/bin/sh
# images.sh [OPTION]...: bakes the images of all roles side by side, with
# these options of packer build. Each line says whose it is; a role that fails
# does not stop the others.
set -eu
cd "$(dirname "$0")"
logs=$(mktemp -d "${TMPDIR:-/tmp}/pgha-images.XXXXXX")

# bake ROLE [OPTION]...: on the terminal the steps alone, in a file
# everything.
bake() {
	role=$1
	shift
	{
		(cd "$role" && packer build -color=false "$@" .) 2>&1 || : >"$logs/$role.failed"
	} | tee "$logs/$role.log" | while IFS= read -r line; do
		case $line in
		*' bake: '*) printf '%s: %s\n' "$role" "${line#*' bake: '}" ;;
		[=-][=-]'> '*': '*) printf '%s: %s\n' "$role" "${line#*: }" ;;
		Error:*) printf '%s: %s\n' "$role" "$line" ;;
		esac
	done
	if [ -e "$logs/$role.failed" ]; then
		printf '%s: failed; all that was said is in %s\n' "$role" "$logs/$role.log" >&2
	fi
}

for template in */image.pkr.hcl; do
	# One after the other: they share the plugin's folder. Packer before 1.7
	# has its builders within; for it the file is removed.
	if [ -e "${template%/*}/plugins.pkr.hcl" ]; then
		(cd "${template%/*}" && packer init .)
	fi
done
for template in */image.pkr.hcl; do
	bake "${template%/*}" "$@" &
done
wait
if [ -n "$(find "$logs" -name '*.failed')" ]; then
	exit 1
fi
rm -r "$logs"
