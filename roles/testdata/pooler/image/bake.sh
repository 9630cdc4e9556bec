#!/bin/sh
# The image of a connection pooler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../../../packer/base.sh
. "$here/base.sh"

begin "$here"
account pooler 543 /var/lib/pooler
component pooler 1.0
deliver pooler.service
