#!/bin/sh
# What pgBackRest calls for its key of object storage (repo1-s3-process-cmd).
# Root leaves it there (storage_key.py).
set -eu
exec cat "${PGHA_RUN:-/run/pgha}/storage-key/key.json"
