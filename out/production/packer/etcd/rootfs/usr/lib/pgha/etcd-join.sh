#!/bin/sh
# Decides how this member starts: with its own log, with the others in a new
# cluster, or as a new member of a cluster that runs. A member that lost its disk
# must not start as the old one: it would have forgotten how it voted.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
PGHA_ETCD_ENV=${PGHA_ETCD_ENV:-/etc/etcd/etcd.env}
read_cluster etcd-join
read_identity etcd-join
# read_settings: from the file, and not inherited: systemd would mix in what an
# earlier start wrote. Again at each try: user-data may bring others.
read_settings() {
	if ! read_values "$PGHA_ETCD_ENV" ETCD_INITIAL_CLUSTER ETCD_DATA_DIR; then
		fail etcd-join "$PGHA_ETCD_ENV has the line \"$values_line\", which is no plain NAME=value: render user-data again"
	fi
}
read_settings

secrets=$PGHA_RUN/secrets
run=$PGHA_RUN/etcd
answers=$run/answers
wal=$ETCD_DATA_DIR/member/wal

# members: NAME=URL, one a line.
members() {
	printf '%s\n' "$ETCD_INITIAL_CLUSTER" | tr ',' '\n'
}

# client_url PEER_URL
client_url() {
	client_host=${1#*://}
	printf 'https://%s:2379\n' "${client_host%:*}"
}

# ask URL NAME: leaves $answers/NAME.json if a member answers there,
# $answers/NAME.trouble if something else does, nothing if nobody is there.
ask() {
	ask_status=0
	# HTTP/1.1: etcd offers HTTP/2 on its peers' port and does not speak it.
	ask_got=$(curl -q -sS --http1.1 --noproxy '*' --connect-timeout 2 --max-time 4 \
		--cacert "$secrets/ca.crt" --cert "$secrets/peer.crt" --key "$secrets/peer.key" \
		-o "$answers/$2.got" -w '%{http_code} %{time_connect}' "$1/members" 2>"$answers/$2.error") || ask_status=$?
	case "$ask_status $ask_got" in
	'0 200 '*)
		if jq -e 'type == "array"' "$answers/$2.got" >/dev/null 2>&1; then
			mv "$answers/$2.got" "$answers/$2.json"
		else
			printf '%s does not answer as etcd does\n' "$1" >"$answers/$2.trouble"
		fi
		;;
	'0 '*) printf '%s answers %s\n' "$1" "${ask_got%% *}" >"$answers/$2.trouble" ;;
	'6 '* | '7 '* | '28 '*' 0.000000') ;;
	*) printf '%s: %s\n' "$1" "$(complaint "$answers/$2.error")" >"$answers/$2.trouble" ;;
	esac
}

ask_all() {
	rm -rf "$answers"
	mkdir "$answers"
	for member in $(members); do
		ask "${member#*=}" "${member%%=*}" &
	done
	wait
}

# view FILE: what one member knows of this one: absent, new, added, started.
view() {
	jq -r --arg name "$NODE_NAME" --arg url "$own_url" '
		[.[] | select((.name // "") == $name or ((.peerURLs // []) | index($url)))] |
		if length == 0 then "absent"
		elif any(.[]; (.clientURLs // []) != []) then "started"
		elif any(.[]; (.name // "") == "") then "added"
		else "new" end' "$1"
}

ctl() {
	no_proxy='*' etcdctl --endpoints "$clients" --dial-timeout 2s --command-timeout 5s \
		--cacert "$secrets/ca.crt" --cert "$secrets/server.crt" --key "$secrets/server.key" \
		"$@" 2>"$answers/ctl.error"
}

no_quorum() {
	reason="cannot $1: $(complaint "$answers/ctl.error"); a quorum of the members must run"
}

# waits_for_this: the only other member has added this one, and has no quorum
# until it starts. Its list, in $list, is the only one that there is.
waits_for_this() {
	if [ "$(find "$answers" -name '*.json' | wc -l)" != 1 ]; then
		return 1
	fi
	list=$(jq -r --arg url "$own_url" '
		if length == 2 and any(.[]; (.name // "") == "" and (.peerURLs | index($url))) and any(.[]; (.clientURLs // []) != [])
		then .[] | "0, , \(.name // ""), \(.peerURLs | join(",")), \((.clientURLs // []) | join(",")), false"
		else empty end' "$answers"/*.json)
	[ -n "$list" ]
}

# join: becomes a member, by the list that the quorum has agreed on, and looks
# again after a member was removed. /members and its JSON would not do: one member
# may remember an older list, and jq cannot hold a 64 bit id.
join() {
	if ! list=$(ctl member list --write-out simple) && ! waits_for_this; then
		no_quorum 'list the members'
		return 1
	fi
	take_part
}

# turn: whether this machine, which is added, may start now. At its first start
# etcd 3.5 asks each listed member for its version and waits without end (getVersion
# in etcdserver/cluster_util.go). Another that is just starting takes the question and
# does not answer before it has its own answers: two would wait for each other. So
# the first by URL starts first, unless it takes longer than a start does: it may be
# dead, and then refuses the question.
turn() {
	first=$(printf '%s\n' "$list" | awk -F ', ' -v url="$own_url" '$5 == "" && $4 "" < url "" { print $4; exit }')
	if [ -z "$first" ]; then
		return
	fi
	IFS=' .' read -r now _ <"$PGHA_UPTIME"
	if [ "$((now - ${turn_since:=$now}))" -ge 30 ]; then
		return
	fi
	reason="$first was added too, and starts first"
	return 1
}

take_part() {
	action=$(printf '%s\n' "$list" | awk -F ', ' -v name="$NODE_NAME" -v url="$own_url" '
		function mine(   urls, n, i) {
			n = split($4, urls, ",")
			for (i = 1; i <= n; i++) if (urls[i] == url) return 1
			return $3 == name
		}
		mine() { if ($5 != "") lost = $1; else if ($3 == "") added = 1; else fresh = 1 }
		END { print lost != "" ? lost : added ? "existing" : fresh ? "new" : "add" }')
	case $action in
	new)
		begin 'listed and never started'
		;;
	existing)
		# It goes into a file that systemd reads, and etcd compares it with the list.
		foreign=$(printf '%s\n' "$list" | awk -F ', ' '
			$3 !~ /^[A-Za-z0-9.-]*$/ || $4 !~ /^https:\/\/[A-Za-z0-9.-]+:[0-9]+(,https:\/\/[A-Za-z0-9.-]+:[0-9]+)*$/ {
				printf "%s (%s at %s)", $1, $3, $4; exit }')
		if [ -n "$foreign" ]; then
			reason="the list of members has one that no machine of this cluster can be: $foreign; remove it with etcdctl member remove"
			return 1
		fi
		if ! turn; then
			return 1
		fi
		state=existing
		cluster=$(printf '%s\n' "$list" | awk -F ', ' -v name="$NODE_NAME" -v url="$own_url" -v spec="$ETCD_INITIAL_CLUSTER" '
			BEGIN {
				n = split(spec, pairs, ",")
				for (i = 1; i <= n; i++) {
					at = index(pairs[i], "=")
					named[substr(pairs[i], at + 1)] = substr(pairs[i], 1, at - 1)
				}
			}
			{
				n = split($4, urls, ",")
				for (i = 1; i <= n; i++) {
					who = $3
					if (who == "") who = urls[i] == url ? name : urls[i] in named ? named[urls[i]] : "joining"
					printf "%s%s=%s", comma, who, urls[i]
					comma = ","
				}
			}')
		why='added to the running cluster'
		;;
	add)
		# A voter and not a learner: etcd below 3.5.24 forgets that a learner was
		# promoted.
		if ! ctl member add "$NODE_NAME" --peer-urls "$own_url" >/dev/null; then
			no_quorum 'add this machine as a member'
			return 1
		fi
		say etcd-join wait 'this machine was not a member: added it'
		# Not listed again: a cluster of one has no quorum until this member starts.
		list="${list:+$list$newline}0, unstarted, , $own_url, , false"
		take_part
		;;
	*)
		# Removed first, because it counts in the quorum until then.
		if ! ctl member remove "$action" >/dev/null; then
			no_quorum "remove the old member $action, whose disk is lost"
			return 1
		fi
		say etcd-join wait "the disk of this member is lost: removed the old member $action"
		join
		;;
	esac
}

begin() {
	state=new
	cluster=$ETCD_INITIAL_CLUSTER
	why=$1
}

# alone: nobody answers.
alone() {
	if ! may_bootstrap; then
		reason="no other member answers, and $reason: start the other members, and let them take the user-data in which $NODE_NAME is"
		return 1
	fi
	begin 'no other member answers, and pgha-bootstrap permits a new cluster'
}

decide() {
	read_settings
	ask_all
	if [ -e "$answers/$NODE_NAME.json" ] || [ -e "$answers/$NODE_NAME.trouble" ]; then
		reason="another machine answers at $own_url: stop it"
		return 1
	fi
	clients=
	known=yes
	for member in $(members); do
		answer=$answers/${member%%=*}.json
		if [ -e "$answer" ]; then
			clients="${clients:+$clients,}$(client_url "${member#*=}")"
			if [ "$(view "$answer")" != new ]; then
				known=
			fi
		fi
	done
	if [ -n "$clients" ] && [ -n "$known" ]; then
		begin 'the others know this member, and it never started'
		return
	fi
	if [ -n "$clients" ]; then
		join
		return
	fi
	trouble=$(cat "$answers"/*.trouble 2>/dev/null | head -n 1) || :
	if [ -n "$trouble" ]; then
		reason="a member is there and cannot be asked: $trouble"
		return 1
	fi
	alone
}

# set_aside: moves away what etcd left when it ended before it had a log. It holds
# no vote, and etcd could not start on it. Only the first is kept: later ones are
# of etcd's next starts. As etcd's user: the folder is that user's, and may hold
# links to anywhere.
set_aside() {
	if ! [ -e "$ETCD_DATA_DIR" ]; then
		return
	fi
	# shellcheck disable=SC2016 # for the inner shell
	as_service sh -c 'cd "$1" || exit 1
		if ! [ -e member ] && ! [ -L member ]; then exit; fi
		if [ -e member.aside ] || [ -L member.aside ]; then rm -rf member; else mv -T member member.aside; fi' sh "$ETCD_DATA_DIR"
}

# start: the machine's own settings, for systemd to read just before etcd.
start() {
	{
		printf 'ETCD_NAME=%s\n' "$NODE_NAME"
		printf 'ETCD_LISTEN_PEER_URLS=https://%s:2380\n' "$NODE_ADDRESS"
		printf 'ETCD_LISTEN_CLIENT_URLS=https://%s:2379,https://127.0.0.1:2379\n' "$NODE_ADDRESS"
		printf 'ETCD_LISTEN_METRICS_URLS=http://%s:2381\n' "$NODE_ADDRESS"
		printf 'ETCD_INITIAL_ADVERTISE_PEER_URLS=%s\n' "$own_url"
		printf 'ETCD_ADVERTISE_CLIENT_URLS=%s\n' "$(client_url "$own_url")"
		if [ -n "$state" ]; then
			printf 'ETCD_INITIAL_CLUSTER_STATE=%s\n' "$state"
			printf 'ETCD_INITIAL_CLUSTER=%s\n' "$cluster"
		fi
		if [ -n "$force" ]; then
			printf 'ETCD_FORCE_NEW_CLUSTER=true\n'
			# It drops what its log does not say to be committed, and may have applied that all
			# the same: the log is written before that is known. Who joins must get the data, then,
			# and not the log from its beginning, which is there until a first snapshot is made.
			if [ -z "$(find "$wal/../snap" -maxdepth 1 -name '*.snap' 2>/dev/null)" ]; then
				printf 'ETCD_SNAPSHOT_COUNT=10\n'
			fi
		fi
	} >"$run/node.env.new"
	mv "$run/node.env.new" "$run/node.env"
	# With these etcd starts, and etcd_refresh.py compares later ones.
	cp "$PGHA_ETCD_ENV" "$run/etcd.env"
	if ! [ -e "$PGHA_STATE/etcd-members" ]; then
		mkdir -p "$PGHA_STATE"
		printf 'ETCD_INITIAL_CLUSTER=%s\n' "$ETCD_INITIAL_CLUSTER" >"$PGHA_STATE/etcd-members"
	fi
	say etcd-join ok "${state:-own log}: $why${force:+, and is the only one now}"
}

# obey: what metadata's pgha-recover orders, where the quorum is lost for good.
obey() {
	read_settings
	if ! metadata instance/attributes/pgha-recover >/dev/null; then
		return 0
	fi
	order=$("$PGHA_LIB/etcd_recover.py" decide)
	case $order in
	'none '*) ;;
	'refuse '*) say recover warn "${order#* }" ;;
	'aside '*) say recover ok "${order#* }" ;;
	'force '*)
		force=yes
		say recover ok "${order#* }"
		;;
	'wait '*)
		reason=${order#* }
		return 1
		;;
	*) fail etcd-join "etcd_recover.py says \"$order\"" ;;
	esac
}

own_url=$(members | sed -n "s/^$NODE_NAME=//p" | head -n 1)
if [ -z "$own_url" ]; then
	fail etcd-join "$NODE_NAME is not in ETCD_INITIAL_CLUSTER ($ETCD_INITIAL_CLUSTER): add it to the spec and render user-data again"
fi
if [ -n "${PGHA_DATA_DEVICE:-}" ] && ! mountpoint -q "$PGHA_DATA_MOUNT"; then
	fail etcd-join "the data disk is not mounted on $PGHA_DATA_MOUNT: see what pgha-disk said"
fi

mkdir -p "$run"
state=
force=
until_done etcd-join obey
why='this member has started before'
if [ -z "$(find "$wal" -maxdepth 1 -name '*.wal' 2>/dev/null)" ]; then
	until_done etcd-join decide
	set_aside
else
	remember_service
fi
start
