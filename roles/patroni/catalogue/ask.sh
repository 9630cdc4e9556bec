#!/bin/sh
# Run by make.sh in a root that has PostgreSQL: asks the server for its
# parameters, and its folders for libraries and extensions, into /tmp/catalogue.
set -eu

if [ "$(id -u)" = 0 ]; then
	mkdir /tmp/catalogue /tmp/ask
	chown postgres: /tmp/catalogue /tmp/ask
	exec su postgres -s /bin/sh -c "sh $0"
fi

cd /tmp/ask
home=$(echo /usr/lib/postgresql/*)
major=${home##*/}
"$home/bin/initdb" -D data >initdb.log 2>&1

# sql: runs statements, one a line, without a server.
sql() {
	"$home/bin/postgres" --single -j -D data template1 >>sql.log 2>&1
}

# What pg_settings does not show: words that an enum takes beside its values.
echo "COPY (SELECT name FROM pg_settings WHERE vartype = 'enum' AND context <> 'internal') TO '/tmp/ask/enums'" | sql
while read -r name; do
	for word in on off true false yes no 1 0 debug info fatal panic archive hot_standby regress none; do
		if "$home/bin/postgres" -D data -c "$name=$word" -C "$name" >/dev/null 2>&1; then
			printf '%s\t%s\n' "$name" "$word"
		fi
	done
done <enums >words
sql </tmp/ask.sql
mv settings.csv "/tmp/catalogue/$major.csv"

# A library without _PG_init does nothing when it is preloaded.
{
	echo library,does
	for library in "$home"/lib/*.so; do
		does=
		if grep -q _PG_init "$library"; then
			does=init
		fi
		name=${library##*/}
		echo "${name%.so},$does"
	done | LC_ALL=C sort
} >"/tmp/catalogue/$major-libraries.csv"

# What CREATE EXTENSION finds.
{
	echo extension
	for control in "/usr/share/postgresql/$major/extension"/*.control; do
		name=${control##*/}
		echo "${name%.control}"
	done | LC_ALL=C sort
} >"/tmp/catalogue/$major-extensions.csv"
