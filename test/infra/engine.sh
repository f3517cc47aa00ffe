#!/usr/bin/env bash
# A Docker engine with compose and with the images that this project names, for tests. One that answers is taken. Else, as root on Debian, one of
# its own is started, with all state in FOLDER, and with stand-ins for images that cannot be pulled: Debian's packages and the npm package `node`.
# All its addresses are of 198.18.0.0/15, the range for tests. Prints lines for `eval`; says on stderr what it does; ends with 3 when it cannot help.
#
#   eval "$(test/infra/engine.sh start FOLDER)"
#   test/infra/engine.sh stop FOLDER              # ends what start began; the images stay in FOLDER for the next time
#
# MESH_TEST_ENGINE=own starts one even where another answers.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
say() { echo "engine: $*" >&2; }
# Nobody hears these but the log, which is shown when something fails.
log=$folder/log
quietly() { "$@" >> "$log" 2>&1 || { tail -n 20 "$log" >&2; say "failed: $*"; exit 1; }; }
answers() { docker version > /dev/null 2>&1; }
able() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; }
have() { docker image inspect "$1" > /dev/null 2>&1; }
# Where the packages of this machine come from.
site() { apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1; }

install_missing() {
  local missing=() needed
  for needed in docker:docker.io dockerd:docker.io iptables:iptables debootstrap:debootstrap; do
    command -v "${needed%%:*}" > /dev/null || missing+=("${needed##*:}")
  done
  [ "${#missing[@]}" = 0 ] && return
  say "installing ${missing[*]}"
  quietly apt-get update -q
  # RUNLEVEL=1 keeps the package from starting a service beside ours.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 quietly apt-get install -y -q --no-install-recommends "${missing[@]}" ca-certificates
}

start_engine() {
  export DOCKER_HOST=unix://$folder/docker.sock
  if ! answers; then
    cat > "$folder/daemon.json" << JSON
{ "bip": "198.18.240.1/24", "default-address-pools": [{ "base": "198.18.224.0/20", "size": 24 }], "hosts": ["$DOCKER_HOST"],
  "data-root": "$folder/data", "exec-root": "$folder/exec", "pidfile": "$folder/docker.pid" }
JSON
    setsid dockerd --config-file "$folder/daemon.json" > "$folder/dockerd.log" 2>&1 < /dev/null &
    for _ in $(seq 150); do answers && break; kill -0 $! 2> /dev/null || break; sleep 0.2; done
    answers || { tail -n 20 "$folder/dockerd.log" >&2; say "dockerd does not start here"; exit 3; }
  fi
  echo "export DOCKER_HOST=$DOCKER_HOST"
}

# Debian 12 has no compose for this engine; that of the release after it is one program and needs nothing else.
add_compose() {
  export DOCKER_CONFIG=$folder/config
  echo "export DOCKER_CONFIG=$DOCKER_CONFIG"
  docker compose version > /dev/null 2>&1 && return
  say "unpacking docker-compose"
  local next=$folder/next
  mkdir -p "$next/lists/partial" "$next/archives/partial" "$DOCKER_CONFIG/cli-plugins"
  echo "deb $(site) trixie main" > "$next/sources.list"
  local aside=(apt-get -q -o "Dir::Etc::SourceList=$next/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$next/lists"
    -o "Dir::Cache=$next" -o APT::Sandbox::User=root)
  quietly "${aside[@]}" update
  (cd "$next" && quietly "${aside[@]}" download docker-compose && quietly dpkg-deb -x docker-compose_*.deb .)
  cp "$(find "$next" -type f -name docker-compose -perm -u+x | head -n 1)" "$DOCKER_CONFIG/cli-plugins/"
  rm -rf "$next"
}

# A Debian with everything that the servers need.
stand_in_base=sessionmesh-stand-in:debian
make_base() {
  have $stand_in_base && return
  say "making a Debian image with debootstrap"
  local rootfs=$folder/rootfs
  rm -rf "$rootfs"
  quietly debootstrap --variant=minbase --include=ca-certificates,wget,libatomic1,nats-server,redis-server,redis-tools bookworm "$rootfs" "$(site)"
  rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/usr/share/doc
  tar -C "$rootfs" -c . | quietly docker import - $stand_in_base
  rm -rf "$rootfs"
}

# The Node of the npm package, and the npm that runs here. It trusts whom this machine trusts.
make_node() {
  local context
  context=$(mktemp -d "$folder/node.XXXX")
  cp "$(readlink -f "$root/node_modules/node/bin/node")" "$context/node"
  cp -rL "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$context/npm"
  cp "${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}" "$context/ca.crt"
  cat > "$context/Dockerfile" << DOCKER
FROM $stand_in_base
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
COPY ca.crt /usr/local/share/ca.crt
ENV NODE_EXTRA_CA_CERTS=/usr/local/share/ca.crt
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && groupadd -g 1000 node && useradd -u 1000 -g node -m node
CMD ["node"]
DOCKER
  quietly docker build -q -t "$1" "$context"
  rm -rf "$context"
}

make_server() {
  printf '%s\n' "FROM $stand_in_base" "$2" | quietly docker build -q -t "$1" -
}

# That the compose file and the Dockerfile name.
images() { awk '$1 == "image:" || $1 == "FROM" { print $2 }' "$root/docker-compose.yml" "$root/Dockerfile" | sort -u | grep :; }

find_images() {
  local image
  for image in $(images); do
    have "$image" && continue
    [ "$1" = own ] || ! docker pull -q "$image" >> "$log" 2>&1 || continue
    able || { say "$image is neither here nor can it be pulled"; exit 3; }
    install_missing
    make_base
    case $image in
      nats:*) make_server "$image" 'ENTRYPOINT ["nats-server"]' ;;
      redis:*) make_server "$image" 'CMD ["redis-server"]' ;;
      node:*) make_node "$image" ;;
      *) say "there is no stand-in for $image"; exit 1 ;;
    esac
  done
  # What was made here has no digest of a registry. Then none can be asked for the image by which testcontainers removes what dead runs left behind.
  local made
  made=$(docker image inspect -f '{{if not .RepoDigests}}{{index .RepoTags 0}}{{end}}' $(images) | xargs)
  [ -z "$made" ] && return
  say "stand-ins: $made"
  echo "export TESTCONTAINERS_RYUK_DISABLED=true"
}

# The builder of Debian's engine is the classic one.
classic_builder() {
  docker buildx version > /dev/null 2>&1 || echo "export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0"
  export DOCKER_BUILDKIT=0
}

case ${1:-} in
  start)
    : > "$log"
    if [ "${MESH_TEST_ENGINE:-}" != own ] && answers; then
      say "one answers${DOCKER_HOST:+ at $DOCKER_HOST}"
      docker compose version > /dev/null 2>&1 || { able || { say "docker compose is not installed"; exit 3; }; add_compose; }
      classic_builder
      find_images other
    elif able; then
      install_missing
      start_engine
      add_compose
      classic_builder
      find_images own
      say "one of our own answers at $DOCKER_HOST"
    else
      say "none answers, and starting one takes root on Debian"
      exit 3
    fi
    ;;
  stop)
    pid=$(cat "$folder/docker.pid" 2> /dev/null || true)
    [ "$(cat "/proc/${pid:-none}/comm" 2> /dev/null)" = dockerd ] || exit 0
    export DOCKER_HOST=unix://$folder/docker.sock
    for container in $(docker ps -aq); do quietly docker rm -f -v "$container"; done
    kill "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
    # It leaves a mount behind, which keeps the folder from being removed.
    awk -v inside="$folder/" 'index($2, inside) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" || true; done
    say "ended"
    ;;
  *)
    echo "usage: $0 start|stop FOLDER" >&2
    exit 2
    ;;
esac
