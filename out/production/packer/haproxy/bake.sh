#!/bin/sh
# The image of an HAProxy node.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../packer/base.sh
. "$here/base.sh"

begin "$here"
account haproxy 542 /var/lib/haproxy

step 'install HAProxy'
install_packages "haproxy=${HAPROXY_VERSION:-}"
hold haproxy
component_package haproxy haproxy

deliver haproxy.service
