# shellcheck shell=sh
# The end of every bake: the manifest and the bill of materials, the seal, and
# the look at whether the image is as it should be. base.sh sources this file.

# Its variables and stop are those of base.sh.
# shellcheck disable=SC2154

# write_manifest: what the image is made of, and what image check reads.
write_manifest() {
	component_package cloud-init "$(dpkg-query -S "$(readlink -f "$(command -v cloud-init)")" | sed 's/:.*//')"
	component_package systemd systemd
	dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n' | sed -n 's/^[ih]i *\t//p' >"$work/packages"
	printf '%s' "$components" >"$work/components"
	jq -n --arg role "$PGHA_ROLE" --argjson contract "$PGHA_CONTRACT" --arg recipe "$PGHA_RECIPE" \
		--arg id "$ID" --arg version "$base_version" --arg baked "$(date -u +%F)" \
		--rawfile components "$work/components" --rawfile packages "$work/packages" '
		def rows: split("\n") | map(select(. != "") | split("\t"));
		{format: "pgha-image/v1", role: $role, contract: $contract, recipe: $recipe, baked: $baked,
		 base: {id: $id, version: $version},
		 components: [$components | rows[] | {name: .[0], version: .[1]} + if .[2] != "" then {sha256: .[2]} else {} end],
		 packages: [$packages | rows[] | {name: .[0], version: .[1]}]}' >"$work/manifest"
	install -o root -g root -m 0644 "$work/manifest" "$manifest"
}

# write_sbom: the bill of materials, in CycloneDX. It has no time, and its
# serial number is a hash of its content (a UUID of version 8), so that the
# same image has the same bill on any day. The manifest has a date and is not
# listed.
write_sbom() {
	{
		(cd "$here/rootfs" && find . -type f) | sed 's/^\.//'
		printf '%s' "$owned"
	} | LC_ALL=C sort -u | xargs -d '\n' sha256sum | sed 's/  /\t/' >"$work/files"
	serial=$({
		jq 'del(.baked)' "$work/manifest"
		cat "$work/components" "$work/packages" "$work/files"
	} | sha256sum)
	jq -n --arg role "$PGHA_ROLE" --arg contract "$PGHA_CONTRACT" --arg recipe "$PGHA_RECIPE" \
		--arg id "$ID" --arg version "$base_version" --arg serial "$serial" \
		--rawfile components "$work/components" --rawfile packages "$work/packages" --rawfile files "$work/files" '
		def rows: split("\n") | map(select(. != "") | split("\t"));
		# A package URL leaves the colon of an epoch as it is.
		def quoted: @uri | gsub("%3A"; ":");
		def file($path; $sum): {
			hashes: [{alg: "SHA-256", content: $sum}],
			evidence: {occurrences: [{location: $path}]}};
		{"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", bomFormat: "CycloneDX", specVersion: "1.6",
		 serialNumber: ($serial | "urn:uuid:\(.[0:8])-\(.[8:12])-8\(.[13:16])-8\(.[17:20])-\(.[20:32])"), version: 1,
		 metadata: {lifecycles: [{phase: "build"}], component: {
			type: "operating-system", "bom-ref": "image", name: "pgha-\($role)", version: $recipe,
			properties: [
				{name: "pgha:role", value: $role}, {name: "pgha:contract", value: $contract},
				{name: "pgha:recipe", value: $recipe}, {name: "pgha:base", value: "\($id) \($version)"}]}},
		 components: ([$packages | rows[]
			| "pkg:deb/\($id)/\(.[0] | quoted)@\(.[1] | quoted)?arch=\(.[2])&distro=\($id)-\($version)" as $purl
			| {type: "library", "bom-ref": $purl, name: .[0], version: .[1], purl: $purl}]
		 + [$components | rows[] | select(.[2] != "")
			| {type: "application", "bom-ref": "program:\(.[3])", name: .[0], version: .[1], purl: .[4]} + file(.[3]; .[2])]
		 + [$files | rows[] | {type: "file", "bom-ref": "file:\(.[1])", name: .[1]} + file(.[1]; .[0])])}' >"$work/sbom"
	install -o root -g root -m 0644 "$work/sbom" "$sbom"
}

# seal: applies the lists of sealed/, and removes what must not be the same on
# two machines. The build user and its sudo stay: Packer's session is still
# open.
seal() {
	if ! cleaned=$(cloud-init clean --logs --seed 2>&1); then
		stop "cannot $doing: cloud-init clean says $(printf '%s' "$cleaned" | tail -n 1)"
	fi
	# It writes the seed when it stops: now, or when Packer shuts the machine
	# down.
	if [ -d /run/systemd/system ]; then
		systemctl stop systemd-random-seed.service
	fi
	cat "$here"/rootfs/usr/lib/pgha/sealed/*.list >"$work/sealed"
	seal_list
	mkdir -p /var/lib/dbus
	ln -sf /etc/machine-id /var/lib/dbus/machine-id
	# A secret on a tmpfs could be swapped out.
	if [ -e /etc/fstab ]; then
		sed -i '/^[^#]*[[:space:]]swap[[:space:]]/d' /etc/fstab
	fi
	apt-get clean
	rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/lib/dpkg/*-old /var/cache/debconf/*-old
	find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' -o -path '/var/log/journal/*' \) -delete
	find /var/log -type f -exec truncate -s 0 {} +
	for scratch in /tmp /var/tmp; do
		find "$scratch" -xdev -mindepth 1 ! -path "$here" ! -path "$here/*" ! -path "$work" ! -path "$work/*" -type f -delete
	done
}

# seal_list: makes the image what the lists say. A unit that is masked is not
# stopped: the bake may be running in a session that it serves.
seal_list() {
	while read -r kind name _; do
		case $kind in
		enabled) systemctl enable --quiet "$name" ;;
		masked)
			systemctl disable --quiet "$name" 2>/dev/null || :
			systemctl mask --quiet "$name"
			;;
		removed)
			# A glob, without spaces.
			# shellcheck disable=SC2086
			rm -rf $name
			;;
		empty) : >"$name" ;;
		absent | '' | '#'*) ;;
		*) stop "the lists of sealed/ have a line of an unknown kind, $kind" ;;
		esac
	done <"$work/sealed"
}

# verify_list: looks whether the image is what the lists say.
verify_list() {
	while read -r kind name what; do
		case $kind in
		enabled) systemctl is-enabled --quiet "$name" || unsound "$name is not enabled" ;;
		masked) [ "$(readlink "$system/$name")" = /dev/null ] || unsound "$name is not masked" ;;
		removed | absent)
			# shellcheck disable=SC2086
			none $name || unsound "it has $there, $what"
			;;
		empty)
			if ! [ -e "$name" ] || [ -s "$name" ]; then
				unsound "its $name is missing, or not empty"
			fi
			;;
		esac
	done <"$work/sealed"
}

unsound() {
	stop "the image is not sound: $1"
}

# none PATH...: whether none of them exists; else the first that does, in
# $there. A glob that matches nothing comes as itself.
none() {
	for there in "$@"; do
		if [ -e "$there" ] || [ -L "$there" ]; then
			return 1
		fi
	done
}

# verify SERVICE: refuses an image that is not as a machine needs it.
verify() {
	verify_list
	if found=$(find "$home" -type f -print -quit 2>/dev/null) && [ -n "$found" ]; then
		unsound "it has $found, the data of a machine"
	fi
	jq -e '.format == "pgha-image/v1" and ([.components[], .packages[] | .name, .version] | all(. != null and . != ""))
		and (.components | length > 0) and (.packages | length > 0) and (.baked | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))' "$manifest" >/dev/null || unsound 'its manifest is not complete'
	jq -e '[.components[] | .hashes // [] | .[].content] | length > 0 and all(test("^[0-9a-f]{64}$"))' "$sbom" >/dev/null ||
		unsound 'its bill of materials is not complete'
	[ -L "$system/pgha.target.wants/$1" ] || unsound "$1 is not part of pgha.target"
	none "$system/multi-user.target.wants/$1" || unsound "$1 is part of multi-user.target"
	for package in $held; do
		[ "$(apt-mark showhold "$package")" = "$package" ] || unsound "$package is not held"
	done
	# In a container that would be the host's kernel.
	if ! systemd-detect-virt --quiet --container; then
		errors=$(printf '%s\n' 'include "/usr/lib/pgha/firewall.nft"' 'add element inet pgha admitted { 1024 . 192.0.2.1 }' \
			'add rule inet pgha limits tcp dport 1024 add @held { ip saddr . tcp dport ct count over 1 } drop' | nft -c -f - 2>&1) ||
			unsound "its kernel does not take the firewall: $(printf '%s' "$errors" | head -n 1)"
	fi
	[ -x /usr/lib/pgha/ready-check.sh ] || unsound 'it cannot tell when it is ready: it has no /usr/lib/pgha/ready-check.sh'
	# A process may end while it is looked for.
	process=$(find /proc -mindepth 1 -maxdepth 1 -user "$user" -print -quit 2>/dev/null) || :
	if [ -n "$process" ]; then
		unsound "$(cat "$process/comm" 2>/dev/null || echo "a process of $user") is running"
	fi
}
