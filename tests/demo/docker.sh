#!/usr/bin/env bash
# The six peers of docker-compose.yml: what the Makefile's demo targets do. Engine 20.10 and docker-compose 1.29 are enough.
#
# docker.sh start               builds and starts them, comes back when all are linked and hold the same, says what to type
# docker.sh logs|status         what they log; what each holds
# docker.sh connect PEER        a conversation at one of them: runs $CHAT there
# docker.sh send PEER           says $TEXT at one of them
# docker.sh watch PEER          shows what one of them hears
# docker.sh partition|heal      really takes peer3, peer4 and peer5 off the network of the others, into one of their own; and back
# docker.sh kill PEER           kill -9, and starts it again
# docker.sh verify              exits 0 if all six hold the same history, else 1
# docker.sh stop|clean          ends them, and with clean removes all they had: volumes, networks and the image
# docker.sh run ARGUMENTS…      runs one peer of the image, with all its history in the volume p2pd
#
# COMPOSE names the compose command, P2PD_IMAGE the image, P2PD_PROFILE the profile of Cargo.toml it is built by,
# COMPOSE_PROJECT_NAME another network beside this one. With P2PD_KEEP_LAYERS=1 clean leaves what makes the next build fast.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

peers=(bootstrap peer1 peer2 peer3 peer4 peer5)
# The side that partition takes away.
far=(peer3 peer4 peer5)
image=${P2PD_IMAGE:-p2pd}
# As compose names it by itself, so that `docker compose` by hand means the same containers.
project=${COMPOSE_PROJECT_NAME:-$(basename "$PWD")}
project=$(tr '[:upper:]' '[:lower:]' <<<"$project" | tr -cd 'a-z0-9_-' | sed 's/^[_-]*//')
export COMPOSE_PROJECT_NAME=$project
near_network=${project}_default
far_network=${project}_far
# Seconds that anything may take that needs a moment.
patience=${P2PD_DEMO_PATIENCE:-60}
terminal=-i
if [[ -t 0 && -t 1 ]]; then terminal=-it; fi

fail() {
    echo "${0##*/}: $1" >&2
    exit 1
}

# Sets `compose`, to the one that is there.
find_compose() {
    docker info >/dev/null 2>&1 || fail "no Docker engine answers: is it running, and may you use it? (without Docker: make demo-local)"
    if [[ -n ${COMPOSE:-} ]]; then
        read -ra compose <<<"$COMPOSE"
    elif docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        fail "neither docker compose nor docker-compose is there"
    fi
}

# Sets `container`, the id of each peer's container.
declare -A container
find_containers() {
    local service id peer
    while read -r service id; do
        container[$service]=$id
    done < <(docker ps -a --no-trunc --filter "label=com.docker.compose.project=$project" \
        --format '{{.Label "com.docker.compose.service"}} {{.ID}}')
    for peer in "${peers[@]}"; do
        [[ -n ${container[$peer]:-} ]] || fail "$peer is not there: start all six with: make demo"
    done
}

need_peer() {
    [[ " ${peers[*]} " == *" $1 "* ]] || fail "there is no peer named '$1', but: ${peers[*]}"
}

# ctl PEER ARGUMENTS…
ctl() {
    docker exec "${container[$1]}" p2pctl "${@:2}"
}

# The same for a person: Ctrl-C reaches what runs there only through a terminal.
talk() {
    docker exec "$terminal" "${container[$peer]}" "$@"
}

# field NAME: a number, word or string of a JSON object that has one of that name.
field() {
    sed -En "s/.*\"$1\":\"?([^\",}]*).*/\1/p"
}

is_parted() {
    docker network inspect "$far_network" >/dev/null 2>&1
}

start() {
    "${compose[@]}" build keymaker
    # Compose knows nothing of the second network.
    if is_parted; then down; fi
    "${compose[@]}" up -d
    find_containers
    wait_linked
    status
    show_what_next
}

# Until each sees the other five, and all hold the same.
wait_linked() {
    local peer
    for peer in "${peers[@]}"; do
        ctl "$peer" --connect-wait "${patience}s" --timeout "${patience}s" wait --peers 5 --synced >/dev/null ||
            fail "$peer is not linked to the other five, or is not in sync: see make demo-status and make demo-logs"
    done
    echo "All six are linked to each other and in sync."
}

show_what_next() {
    cat <<END

Talk at one, and watch at another:
  make demo-connect-peer1                    a conversation; /help there, /quit ends it
  make demo-send PEER=peer5 TEXT="hello"     one line
  make demo-watch PEER=peer2                 what is said, as it is said
  ${compose[*]} exec peer3 p2pctl peers     any command: p2pctl --help
Break it and look:
  make demo-partition                        three of them lose the other three; both sides can talk on
  make demo-heal                             they find each other again, and nothing is lost
  make demo-kill PEER=peer3                  kill -9, and it comes back
  make demo-verify                           all six hold the same history, or it says who does not
End it:
  make demo-stop                             what was said stays for the next make demo
  make demo-clean                            nothing stays
END
}

status() {
    local peer answer
    printf '%-10s %-9s %-9s %6s %6s  %s\n' PEER CONTAINER HEALTH LINKED POSTS DIGEST
    for peer in "${peers[@]}"; do
        answer=$(ctl "$peer" -o json status 2>/dev/null) || answer=
        printf '%-10s %-9s %-9s %6s %6s  %s\n' "$peer" \
            "$(docker inspect -f '{{.State.Status}}' "${container[$peer]}")" \
            "$(field health <<<"$answer")" "$(field peers_up <<<"$answer")" \
            "$(field posts <<<"$answer")" "$(field digest <<<"$answer")"
    done
}

# move PEER FROM_NETWORK TO_NETWORK: it is found by its name there too.
move() {
    docker network disconnect "$2" "${container[$1]}"
    docker network connect --alias "$1" "$3" "${container[$1]}"
}

partition() {
    local peer
    is_parted && fail "they are parted already: heal them with: make demo-heal"
    docker network create --internal --label "p2pd.demo=$project" "$far_network" >/dev/null
    for peer in "${far[@]}"; do
        move "$peer" "$near_network" "$far_network"
    done
    for peer in "${peers[@]}"; do
        wait_for_two "$peer"
    done
    echo "bootstrap, peer1 and peer2 are cut off from peer3, peer4 and peer5. Each sees the two of its own side."
}

# Until a peer is linked to two others and no more.
wait_for_two() {
    local end=$((SECONDS + patience))
    until [[ $(ctl "$1" -o json status 2>/dev/null | field peers_up) == 2 ]]; do
        ((SECONDS < end)) || fail "$1 is not linked to two others"
        sleep 0.2
    done
}

heal() {
    local peer
    is_parted || fail "they are not parted"
    for peer in "${far[@]}"; do
        move "$peer" "$far_network" "$near_network"
    done
    docker network rm "$far_network" >/dev/null
    wait_linked
}

at_peer_connect() {
    talk sh -c "${CHAT:?is what to run}"
}

at_peer_send() {
    ctl "$peer" send -- "${TEXT:?is what to say}"
}

at_peer_watch() {
    talk p2pctl watch -n 20
}

at_peer_kill() {
    local others=5
    docker kill -s KILL "${container[$peer]}" >/dev/null
    echo "$peer was killed. It starts again:"
    docker start "${container[$peer]}" >/dev/null
    if is_parted; then others=2; fi
    ctl "$peer" --connect-wait "${patience}s" --timeout "${patience}s" wait --peers "$others" --synced >/dev/null ||
        fail "$peer is not linked to $others others, or is not in sync: see make demo-status and make demo-logs"
    ctl "$peer" sync
}

# What a peer holds, a post a line, in the one order that all have, without what is each peer's own view of it.
history_of() {
    ctl "$1" -q -o json history --all | sed -E 's/\},\{"id":/},\n{"id":/g' |
        sed -E 's/"(offset|own|late)":[^,]*,//g; s/"author_name":"([^"\\]|\\.)*",//; s/\],"offset":.*//'
}

# Writes all histories to a folder and says whether they are one; peers that do not answer hold nothing.
read_histories() {
    local peer
    for peer in "${peers[@]}"; do
        history_of "$peer" >"$1/$peer" 2>/dev/null || true
        ctl "$peer" -o json sync 2>/dev/null | field digest >"$1/$peer.digest" || true
    done
    for peer in "${peers[@]}"; do
        [[ -s $1/$peer.digest ]] && cmp -s "$1/$peer" "$1/bootstrap" && cmp -s "$1/$peer.digest" "$1/bootstrap.digest" || return 1
    done
}

verify() {
    local folder end=$((SECONDS + ${P2PD_VERIFY_PATIENCE:-10}))
    folder=$(mktemp -d)
    # shellcheck disable=SC2064  # This folder, now.
    trap "rm -rf '$folder'" EXIT
    # What was said just now may be on its way.
    until read_histories "$folder"; do
        if ((SECONDS >= end)); then
            show_difference "$folder"
            fail "the six histories are not the same"
        fi
        sleep 0.5
    done
    echo "All six hold the same $(grep -c '"id":' "$folder/bootstrap" || true) messages in the same order: digest $(cat "$folder/bootstrap.digest")"
}

show_difference() {
    local peer all missing
    all=$(cd "$1" && cat "${peers[@]}" | grep -oE '"id":"[^"]*"' | sort -u)
    for peer in "${peers[@]}"; do
        missing=$(comm -23 <(echo "$all") <(grep -oE '"id":"[^"]*"' "$1/$peer" | sort -u) | grep -c . || true)
        echo "$peer: $(grep -c '"id":' "$1/$peer" || true) messages, $missing that others hold are missing, digest $(cat "$1/$peer.digest")" >&2
    done
}

# Containers and networks go; with -v volumes too.
down() {
    "${compose[@]}" down --remove-orphans "$@"
    if is_parted; then docker network rm "$far_network" >/dev/null; fi
}

clean() {
    down -v
    if docker image inspect "$image" >/dev/null 2>&1; then docker rmi "$image" >/dev/null; fi
    [[ -n ${P2PD_KEEP_LAYERS:-} ]] || docker image prune -f --filter label=p2pd.stage >/dev/null
}

# As confined as the six, but for others to reach.
run() {
    docker run --rm "$terminal" --read-only --cap-drop ALL --security-opt no-new-privileges --memory 256m --pids-limit 64 \
        --tmpfs /run/p2pd:uid=10001,gid=10001,mode=0700 -v p2pd:/var/lib/p2pd -p "${PORT:-8080}:8080" "$image" "$@"
}

action=${1:-}
peer=${2:-}
find_compose
case $action in
    start) start ;;
    run) run "${@:2}" ;;
    stop) down ;;
    clean) clean ;;
    logs) "${compose[@]}" logs -f --tail 50 ;;
    status | partition | heal | verify)
        find_containers
        "$action"
        ;;
    connect | send | watch | kill)
        need_peer "$peer"
        find_containers
        "at_peer_$action"
        ;;
    *) fail "usage: ${0##*/} start|logs|status|connect|send|watch|partition|heal|kill|verify|stop|clean" ;;
esac
