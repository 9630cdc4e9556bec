#!/bin/sh
# secrets.sh boot|refresh: fetches the role's secrets from Lockbox into a tmpfs,
# and checks that they fit together.
#   boot      waits until this machine has them
#   refresh   takes over what has changed since; until all of it is right, what
#             is in force stays. Then the role's own secrets-apply.sh has the
#             service use the files that changed.
# The service's group may read them, and only root write them, since root reads
# them later; *.env is for root alone. A secret is never printed, and never an
# argument of a program.
#
#   /run/pgha/secrets              a link to the version in force: all files of
#                                  it change in one moment
#   /run/pgha/secrets.d/<number>   that version and the one before
#   /run/pgha/secrets.d/unused     files that the service does not use yet
#   /run/pgha/had/secrets          Lockbox's versions of the secret that this
#                                  machine had, the one in force at the end
set -eu
umask 077
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"

secrets=$PGHA_RUN/secrets
versions=$PGHA_RUN/secrets.d
fresh=$versions/new
payload=$fresh/.payload
entries=$fresh/.entries
unused=$versions/unused

get_token() {
	status=0
	answer=$(metadata instance/service-accounts/default/token) || status=$?
	case $status in
	0) ;;
	4)
		reason='no service account is attached to this machine: attach the one that may read the secret'
		return 1
		;;
	5)
		reason='metadata refuses a token: enable the GCE token in the metadata options of this machine'
		return 1
		;;
	*)
		reason="metadata at $PGHA_METADATA does not answer"
		return 1
		;;
	esac
	token=$(printf '%s' "$answer" | jq -r '.access_token // empty' 2>/dev/null) || token=
	if [ -z "$token" ]; then
		reason='metadata gives no access_token'
		return 1
	fi
}

# find_secret: the id of the role's secret, in $secret. User-data has it, or else
# who created this machine has put it into metadata.
find_secret() {
	secret=${PGHA_SECRET_ID:-}
	if [ -n "$secret" ]; then
		return 0
	fi
	status=0
	secret=$(metadata instance/attributes/pgha-secret) || status=$?
	case $status:$secret in
	4:* | 0:)
		reason='neither user-data nor metadata (pgha-secret) has the id of the secret: create the machine with deploy/create.sh, or give the spec secrets.lockbox'
		return 1
		;;
	0:*[!A-Za-z0-9_-]*)
		reason="metadata's pgha-secret is \"$secret\", which is no id of a secret"
		return 1
		;;
	0:*) ;;
	*)
		reason="metadata at $PGHA_METADATA does not answer"
		return 1
		;;
	esac
}

get_payload() {
	find_secret || return 1
	get_token || return 1
	status=0
	code=$(printf 'Authorization: Bearer %s\n' "$token" |
		curl -q -sS --connect-timeout 5 --max-time 20 -H @- -o "$payload" -w '%{http_code}' \
			"$PGHA_LOCKBOX/lockbox/v1/secrets/$secret/payload" 2>"$fresh/.error") || status=$?
	case $status in
	0) ;;
	35 | 51 | 58 | 60 | 77 | 83)
		reason="TLS to Lockbox at $PGHA_LOCKBOX fails: $(complaint "$fresh/.error")"
		return 1
		;;
	6 | 7 | 28)
		reason="Lockbox at $PGHA_LOCKBOX cannot be reached (a node without a public address needs a NAT gateway): $(complaint "$fresh/.error")"
		return 1
		;;
	*)
		reason="Lockbox at $PGHA_LOCKBOX does not answer: $(complaint "$fresh/.error")"
		return 1
		;;
	esac
	case $code in
	200) ;;
	401 | 403)
		reason="Lockbox answers $code: the service account of this machine may not read secret $secret; give it lockbox.payloadViewer on that secret"
		return 1
		;;
	404)
		reason="Lockbox answers 404: there is no secret $secret, or it has no version yet"
		return 1
		;;
	*)
		reason="Lockbox answers $code for secret $secret"
		return 1
		;;
	esac
	# One jq for all files: it takes longer to start than to do all this. What is no
	# base64 could be a line of another file.
	if ! payload_version=$(jq -r '.versionId // empty' "$payload" 2>/dev/null) ||
		! jq -r --arg node "$NODE_NAME" --arg files "$PGHA_SECRET_FILES" '
			(if .entries | type == "array" then [.entries[] | {key, value: .}] | from_entries else error("no entries") end) as $entries
			| $files | split(" ")[] | select(. != "") as $file
			| ($entries["\($node).\($file)"] // $entries[$file]) as $entry
			| ($entry.binaryValue // ($entry.textValue // "" | @base64)) as $content
			| if $content | test("[^A-Za-z0-9+/=]") then error("no base64") else . end
			| "\($file) \($entry.key // "-") \($content)"' \
			"$payload" >"$entries" 2>/dev/null; then
		reason="Lockbox answers for secret $secret with something that is not a payload"
		return 1
	fi
}

# write FILE ENTRY CONTENT: writes it, from that entry of the secret and its
# content in base64; the entry "-": there is none.
write() {
	if [ "$2" = - ]; then
		reason="secret $secret has neither an entry $NODE_NAME.$1 nor an entry $1: run pgha-gen secrets generate, and what it says next"
		return 1
	fi
	printf '%s' "$3" | base64 -d >"$fresh/$1" || :
	if ! [ -s "$fresh/$1" ]; then
		reason="entry $2 of secret $secret is empty: run pgha-gen secrets generate, and what it says next"
		return 1
	fi
}

# check CERTIFICATE: it is valid today, signed by this cluster's CA, and has
# its key beside it.
check() {
	if ! [ -e "$fresh/ca.crt" ]; then
		reason="$1 cannot be verified without ca.crt: render user-data again"
		return 1
	fi
	if ! errors=$(openssl verify -no-CApath -no-CAstore -CAfile "$fresh/ca.crt" "$fresh/$1" 2>&1); then
		reason="$1 is not valid under ca.crt: $(printf '%s\n' "$errors" | sed -n 's/^error [0-9]* at [0-9]* depth lookup: *//p' | head -n 1); run pgha-gen secrets generate, and what it says next"
		return 1
	fi
	key=${1%.crt}.key
	if [ -e "$fresh/$key" ]; then
		of_certificate=$(openssl x509 -noout -pubkey -in "$fresh/$1")
		of_key=$(openssl pkey -pubout -in "$fresh/$key" 2>/dev/null) || of_key=
		if [ "$of_certificate" != "$of_key" ]; then
			reason="$key is not the key of $1: run pgha-gen secrets generate, and what it says next"
			return 1
		fi
	fi
}

# take: writes and checks all files, from one answer of Lockbox. What is wrong
# may be mended there, so Lockbox is asked again.
take() {
	rm -rf "$fresh"
	mkdir -p "$versions"
	chmod 0711 "$versions"
	mkdir "$fresh"
	get_payload || return 1
	while read -r file entry content; do
		write "$file" "$entry" "$content" || return 1
	done <"$entries"
	for file in $PGHA_SECRET_FILES; do
		case $file in
		ca.crt) ;;
		*.crt) check "$file" || return 1 ;;
		esac
	done
	rm -f "$payload" "$entries" "$fresh/.error"
}

# had: this version of the secret is in force, also if this node's files of it
# are those of the version before.
had() {
	case $payload_version in
	'' | *[!A-Za-z0-9_-]*) return 0 ;;
	esac
	mkdir -p "$PGHA_RUN/had"
	if [ "$(tail -n 1 "$PGHA_RUN/had/secrets" 2>/dev/null)" != "$payload_version" ]; then
		printf '%s\n' "$payload_version" >>"$PGHA_RUN/had/secrets"
	fi
}

# place: what was taken is in force, from one moment to the next. The version
# before stays for whoever was told its name. Its status is the caller's to
# look at: set -e does not count below until_done.
place() {
	number=$(($(in_force) + 1))
	close_to_others && rm -rf "${versions:?}/$number" && mv "$fresh" "$versions/$number" &&
		ln -sfn "secrets.d/$number" "$secrets.new" && mv -T "$secrets.new" "$secrets" || return 1
	for version in "$versions"/[0-9]*; do
		case ${version##*/} in
		"$number" | "$((number - 1))") ;;
		*) rm -rf "$version" ;;
		esac
	done
}

# close_to_others: nobody but root and the service reads what was taken. The
# folder is opened last.
close_to_others() {
	chgrp -R "$(id -g "$PGHA_SERVICE_USER")" "$fresh" && chmod 0640 "$fresh"/* || return 1
	for file in "$fresh"/*.env; do
		! [ -e "$file" ] || chmod 0600 "$file" || return 1
	done
	chmod 0750 "$fresh"
}

# in_force: the number of the version in force; 0: there is none.
in_force() {
	now=$(readlink "$secrets") || now=
	now=${now#secrets.d/}
	case $now in
	'' | *[!0-9]*) now=0 ;;
	esac
	if ! [ -d "$versions/$now" ]; then
		now=0
	fi
	printf '%s\n' "$now"
}

# compare: the files that are other ones than those in force, in $changed, and
# those that are no more, in $gone.
compare() {
	changed='' gone=''
	for file in $PGHA_SECRET_FILES; do
		cmp -s "$fresh/$file" "$secrets/$file" || changed="$changed $file"
	done
	for file in "$secrets"/*; do
		[ -e "$fresh/${file##*/}" ] || gone="$gone ${file##*/}"
	done
}

# refresh: Lockbox's secrets are in force, and the service uses them.
refresh() {
	look # user-data may have changed since the last try
	take || return 1
	compare
	if [ -n "$changed$gone" ]; then
		# Written first: if this ends here, one file too many is used anew.
		if ! { remember "$changed" && place; }; then
			fail secrets "cannot put new secrets into $versions"
		fi
		news="$news${changed:+ new:$changed}${gone:+ no more:$gone}"
	fi
	rm -rf "$fresh"
	had
	use
}

# remember FILES: the service does not use them yet.
remember() {
	[ -z "$1" ] || printf '%s\n' "$1" | tr ' ' '\n' >>"$unused"
}

# use: has the service use what it does not use yet.
use() {
	waiting=$(sort -u "$unused" 2>/dev/null | grep .) || return 0
	if ! [ -e "$PGHA_LIB/secrets-apply.sh" ]; then
		rm "$unused"
		return
	fi
	status=0
	# shellcheck disable=SC2086 # the names of files, which have no blanks
	answer=$("$PGHA_LIB/secrets-apply.sh" $waiting 2>/dev/null) || status=$?
	answer=$(printf '%s\n' "$answer" | tail -n 1)
	if [ "$status" != 0 ]; then
		reason="$PGHA_SERVICE does not use the new $(printf '%s' "$waiting" | tr '\n' ' ') yet: ${answer:-secrets-apply.sh ended with status $status}"
		return 1
	fi
	news="${news:- in use: $(printf '%s' "$waiting" | tr '\n' ' ')}${answer:+; $answer}"
	rm "$unused"
}

# look: what user-data asks for.
look() {
	PGHA_SECRET_ID=
	read_cluster secrets
	for file in ${PGHA_SECRET_FILES:-}; do
		case $file in
		*[!A-Za-z0-9._-]* | .*) fail secrets "user-data asks for a secret file \"$file\", which cannot be a file's name" ;;
		esac
	done
}

read_identity secrets
look
mode=${1-}
case $mode in
boot | refresh) ;;
*) fail secrets "secrets.sh $mode: want boot or refresh" ;;
esac
if [ -z "${PGHA_SECRET_FILES:-}" ]; then
	[ "$mode" = refresh ] || say secrets ok "role $PGHA_ROLE reads no secret"
	exit 0
fi
mkdir -p "$PGHA_RUN"
if [ "$(stat -f -c %T "$PGHA_RUN")" != tmpfs ]; then
	fail secrets "$PGHA_RUN is not on a tmpfs: secrets would reach a disk"
fi
if ! id "$PGHA_SERVICE_USER" >/dev/null 2>&1; then
	fail secrets "this image has no user $PGHA_SERVICE_USER: create the machine from an image of role $PGHA_ROLE"
fi
case $mode:$(in_force) in
boot:0 | refresh:[1-9]*) ;;
boot:*)
	# A service uses them. Only a refresh tells it of others.
	say secrets ok "$PGHA_SECRET_FILES, as before"
	exit 0
	;;
*) exit 0 ;; # the boot has not brought them, and has said why
esac
leave() {
	rm -rf "$fresh"
	ended "$1"
}
trap 'leave $?' EXIT
if [ "$mode" = boot ]; then
	rm -rf "$versions"
	until_done secrets take
	place || fail secrets "cannot put secrets into $versions"
	had
	say secrets ok "$PGHA_SECRET_FILES"
	exit 0
fi
# shellcheck disable=SC2034 # of step.sh
again=3600 # what is in force serves on
news=
until_done secrets refresh
if [ -n "$news" ]; then
	say secrets ok "${news# }"
elif [ -n "$said" ]; then
	say secrets ok "$PGHA_SECRET_FILES, as before"
fi
