#!/bin/sh
# refresh-apply.sh PATH...: makes Patroni use the files that changed. What must be
# restarted for is not: that waits until somebody asks for it. The last line says
# what took effect.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
trap - EXIT # what this finds is refresh.py's to say
read_cluster refresh
read_identity refresh

# ask SQL: of this node's PostgreSQL; nothing if it does not run.
ask() {
	as_service psql --no-psqlrc --no-password --tuples-only --no-align --dbname postgres --command "$1" 2>/dev/null || :
}

# patroni_run.py makes it newer when Patroni has reloaded.
reloaded=/run/postgresql/patroni-reloaded
reload=
leader=
for path; do
	case $path in
	/etc/patroni/bootstrap.yml | /etc/patroni/databases.json) leader=yes ;;
	/etc/patroni/*) reload=yes ;;
	/etc/pgha/cluster.env) systemctl start --no-block pgha-agreement.service ;;
	/etc/pgbackrest/pgbackrest.conf)
		# They read it each time, and run only where it is.
		systemctl restart pgha-storage-key.service
		systemctl "$([ -e "$path" ] && echo start || echo stop)" pgha-backup.service
		;;
	esac
done
done='nothing to do'
if [ -n "$leader" ]; then
	done='the node that leads brings it to the cluster'
fi
if [ -n "$reload" ] && systemctl is-active --quiet patroni.service; then
	link=$PGHA_RUN/patroni/config/20-node.yml
	own=${PGHA_PATRONI_ETC:-/etc/patroni}/nodes/$NODE_NAME.yml
	if [ -e "$own" ]; then
		ln -sf "$own" "$link"
	else
		rm -f "$link"
	fi
	before=$(stat -c %y "$reloaded" 2>/dev/null) || before=
	if ! errors=$(systemctl reload patroni.service 2>&1); then
		printf 'Patroni does not reload: %s\n' "$errors" | tr '\n' ' '
		exit 1
	fi
	done="Patroni reloaded${leader:+, and $done}"
	# It has written PostgreSQL's files by then, and PostgreSQL has read them.
	tries=50
	while [ "$tries" -gt 0 ] && [ "$(stat -c %y "$reloaded" 2>/dev/null)" = "$before" ]; do
		tries=$((tries - 1))
		sleep 0.1
	done
	wrong=$(ask "SELECT format('line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error IS NOT NULL LIMIT 1")
	if [ -n "$wrong" ]; then
		echo "PostgreSQL does not take pg_hba.conf: $wrong"
		exit 1
	fi
	# Patroni leaves a cluster that was restored with hot_standby off, until its leader
	# restarts. It counts on replicas alone.
	pending=$(ask "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE pending_restart AND name <> 'hot_standby'")
	if [ -n "$pending" ]; then
		done="$done; PostgreSQL has to be restarted for $pending"
	fi
fi
echo "$done"
