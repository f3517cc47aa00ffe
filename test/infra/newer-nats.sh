#!/usr/bin/env bash
# Unpacks the nats-server of Debian's development suite into a folder, without installing it, and prints where it is: the registry may have replicas
# from 2.11 on, and Debian 12 has 2.9. Needs root for nothing but what apt-get asks of it.
#
#   NATS_SERVER=$(test/infra/newer-nats.sh /tmp/newer-nats) npx vitest run --project chaos test/chaos/three_nats.test.ts
set -euo pipefail
into=$(mkdir -p "$1" && cd "$1" && pwd)

# Where the packages of this machine come from.
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
mkdir -p "$into/lists/partial" "$into/archives/partial"
echo "deb $site sid main" > "$into/sources.list"
aside() {
  apt-get -q -o "Dir::Etc::SourceList=$into/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$into/lists" \
    -o "Dir::Cache=$into" -o APT::Sandbox::User=root "$@" >&2
}
aside update
(cd "$into" && aside download nats-server)
dpkg-deb -x "$into"/nats-server_*.deb "$into"
echo "$into/usr/sbin/nats-server"
