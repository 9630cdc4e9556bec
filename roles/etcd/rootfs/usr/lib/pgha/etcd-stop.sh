#!/bin/sh
# Before etcd is stopped: sends its clients to the other members. What is asked while
# etcd stops gets status 500 and the code of an unknown error. Patroni takes that for a
# refusal, not for a member that is away: a leader that is refused its lease restarts
# PostgreSQL. After a reset it asks the next member.
set -eu
nft -f "${PGHA_LIB:-/usr/lib/pgha}/etcd-stop.nft"
# Who has asked already gets an answer.
sleep 0.5
