# shellcheck shell=sh
# What the boot steps share: paths, lines on the console, waiting, metadata.

PGHA_ETC=${PGHA_ETC:-/etc/pgha}
PGHA_RUN=${PGHA_RUN:-/run/pgha}
PGHA_LIB=${PGHA_LIB:-/usr/lib/pgha}
PGHA_STATE=${PGHA_STATE:-/var/lib/pgha}
PGHA_CONSOLE=${PGHA_CONSOLE:-/dev/console}
PGHA_METADATA=${PGHA_METADATA:-http://169.254.169.254}
PGHA_UPTIME=${PGHA_UPTIME:-/proc/uptime}
PGHA_LOCKBOX=${PGHA_LOCKBOX:-https://payload.lockbox.api.cloud.yandex.net}

newline='
'
longest=15
again=15
reason=
said=
said_at=0
failed=

# read_values FILE PATTERN...: sets the variables of FILE, lines NAME=value,
# whose names match one of the patterns. Nothing in FILE is ever run: a value
# is plain characters, in single quotes if there are blanks. Any other form,
# and the variables that say where this program's own files are, end with
# status 1 and the line in $values_line.
read_values() {
	values_file=$1
	shift
	while IFS= read -r values_line || [ -n "$values_line" ]; do
		values_name=${values_line%%=*}
		values_wanted=
		for values_pattern; do
			# shellcheck disable=SC2254 # a pattern it shall be
			case $values_name in
			$values_pattern) values_wanted=yes ;;
			esac
		done
		if [ -z "$values_wanted" ]; then
			continue
		fi
		case $values_line in
		*=*) ;;
		*) return 1 ;;
		esac
		case $values_name in
		'' | [0-9]* | *[!A-Z0-9_]* | PGHA_ETC | PGHA_RUN | PGHA_LIB | PGHA_STATE | PGHA_CONSOLE | PGHA_UPTIME) return 1 ;;
		esac
		values_value=${values_line#*=}
		case $values_value in
		"'"*"'")
			values_value=${values_value#"'"}
			values_value=${values_value%"'"}
			;;
		*[[:space:]]*) return 1 ;;
		esac
		case $values_value in
		*[!A-Za-z0-9_./:,@%+=\<\>~\ -]*) return 1 ;;
		esac
		# shellcheck disable=SC2229 # the variable whose name this is
		IFS= read -r "$values_name" <<-END
			$values_value
		END
	done <"$values_file"
}

# read_cluster: what user-data says about this cluster and this role.
read_cluster() {
	if ! [ -r "$PGHA_ETC/cluster.env" ]; then
		fail "$1" "there is no $PGHA_ETC/cluster.env: user-data did not reach this machine"
	fi
	if ! read_values "$PGHA_ETC/cluster.env" 'PGHA_*'; then
		fail "$1" "$PGHA_ETC/cluster.env has the line \"$values_line\", which is no plain NAME=value: render user-data again"
	fi
}

# read_identity: who this machine is, as pgha-identity found it.
read_identity() {
	if ! [ -r "$PGHA_RUN/identity.env" ]; then
		fail "$1" "there is no $PGHA_RUN/identity.env: pgha-identity has not run"
	fi
	if ! read_values "$PGHA_RUN/identity.env" 'NODE_*'; then
		fail "$1" "$PGHA_RUN/identity.env has the line \"$values_line\", which pgha-identity did not write"
	fi
}

# say STEP ok|wait|warn|fail DETAIL: one line of the boot protocol, and what the
# machine's status has of this step. The same reason for waiting is said again
# only after $again seconds.
say() {
	# Not date's: steps wait, look and say a lot, and each program that starts
	# delays the boot.
	IFS=' .' read -r say_now _ <"$PGHA_UPTIME"
	if [ "$2" = wait ] && [ "$said" = "$3" ] && [ $((say_now - said_at)) -lt "$again" ]; then
		return 0
	fi
	said=$3
	said_at=$say_now
	say_detail=$3
	case $3 in
	*[[:cntrl:]]*) say_detail=$(printf '%s' "$3" | tr -s '[:cntrl:]' ' ') ;;
	esac
	if [ ${#say_detail} -gt 400 ]; then
		say_detail=$(printf '%s' "$say_detail" | cut -c 1-400)
	fi
	say_ms=$(date +%s%3N)
	say_line="pgha: $say_ms ${NODE_NAME:--} $1 $2 $say_detail"
	printf '%s\n' "$say_line"
	record "$1" "$say_ms $2 $say_detail"
	# A machine without a console must still boot.
	{ printf '%s\n' "$say_line" >>"$PGHA_CONSOLE"; } 2>/dev/null || :
}

# record STEP LINE: for watch.py, which gives it out.
record() {
	{
		{ [ -d "$PGHA_RUN/steps" ] || mkdir -p "$PGHA_RUN/steps"; } &&
			printf '%s\n' "$2" >"$PGHA_RUN/steps/$1.new" &&
			mv "$PGHA_RUN/steps/$1.new" "$PGHA_RUN/steps/$1"
	} 2>/dev/null || :
}

# fail STEP DETAIL: says it and ends the step.
fail() {
	failed=yes
	say "$1" fail "$2"
	exit 1
}

# ended STATUS: says on the console that the step ended with an error that it
# has not said. A stop by systemd is no error.
ended() {
	if [ "$1" != 0 ] && [ -z "$failed" ]; then
		ended_step=${0##*/}
		fail "${ended_step%.sh}" "stopped with status $1: its journal says why"
	fi
}
trap 'ended $?' EXIT
trap 'failed=yes; exit 143' TERM

# until_done STEP COMMAND...: runs COMMAND until it succeeds, with 1, 2, 4, 8,
# then 15 s between tries, but never more than $longest. COMMAND leaves in
# $reason why it has to be tried again.
until_done() {
	until_step=$1
	shift
	until_pause=1
	until "$@"; do
		say "$until_step" wait "$reason"
		sleep "$until_pause"
		until_pause=$((until_pause * 2))
		if [ "$until_pause" -gt "$longest" ]; then
			until_pause=$longest
		fi
	done
}

# complaint FILE: what curl said, or a program whose errors start with
# "Error:", without the times that differ at every try and would make each
# reason a new one.
complaint() {
	sed -nE '/^(curl|Error):/ { s/ after [0-9]+ (ms|milliseconds)//; p; }' "$1" | tail -n 1
}

# metadata PATH: the value on stdout. Status 4: the machine has no such value;
# any other: the service does not answer as it should.
metadata() {
	metadata_answer=$(curl -q -s --noproxy '*' --connect-timeout 2 --max-time 5 \
		-H 'Metadata-Flavor: Google' -w '\n%{http_code}' \
		"$PGHA_METADATA/computeMetadata/v1/$1") || return 1
	case ${metadata_answer##*"$newline"} in
	200) printf '%s\n' "${metadata_answer%"$newline"*}" ;;
	404) return 4 ;;
	*) return 5 ;;
	esac
}

# may_bootstrap: whether this machine may bootstrap its cluster; if not,
# status 1 and the reason in $reason. Only who creates machines knows whether
# there ever was a cluster, and says so by the attribute pgha-bootstrap. A
# machine that has served in the cluster never may, whatever metadata still
# says: with an empty disk it would be a member that has forgotten everything.
may_bootstrap() {
	if [ -e "$PGHA_STATE/served" ]; then
		reason='this machine has served in the cluster before, so it never bootstraps one'
		return 1
	fi
	found_status=0
	permission=$(metadata instance/attributes/pgha-bootstrap) || found_status=$?
	if [ "$found_status" != 0 ] && [ "$found_status" != 4 ]; then
		reason="metadata at $PGHA_METADATA does not answer"
		return 1
	fi
	if [ -z "$permission" ]; then
		reason='metadata has no pgha-bootstrap that would permit a new cluster'
		return 1
	fi
	if [ "$permission" != "$PGHA_TOKEN" ]; then
		reason="pgha-bootstrap permits cluster $permission, not $PGHA_TOKEN"
		return 1
	fi
}

# remember_service: marks this machine as one that has served, which never
# bootstraps again.
remember_service() {
	[ -d "$PGHA_STATE" ] || mkdir -p "$PGHA_STATE"
	: >"$PGHA_STATE/served"
}

# as_service COMMAND...: runs it as the user of this machine's service.
as_service() {
	setpriv --reuid="$PGHA_SERVICE_USER" --regid="$(id -g "$PGHA_SERVICE_USER")" --init-groups -- "$@"
}
