#!/usr/bin/env bash
# Every text of Debian's packages fortunes, fortunes-ru, fortunes-zh, fortunes-es and fortunes-br through six peers:
# three of them say a third each, at the same time, and then all six must hold every text once, each author in order,
# byte for byte; and so must a seventh peer that comes later and knows one address.
#
# fortunes.sh [--install] [--kill]
#   --install   install the packages that are missing
#   --kill      kill -9 one of the three in the middle, start it again and say everything again with the same keys
#
# FORTUNES_DIR is where the texts are; BIN is where the programs are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

texts=${FORTUNES_DIR:-/usr/share/games/fortunes}
bin=${BIN:-${CARGO_TARGET_DIR:-target}/debug}
dir=$(mktemp -d)
# shellcheck source=tests/demo/peers.sh
source tests/demo/peers.sh

senders=(1 3 5)
killed=3
with_kill=no

finish() {
    local status=$? peer
    for peer in "${peers[@]}" seventh; do
        stop_peer "$peer"
    done
    if ((status == 0)); then
        rm -rf "${dir:?}"
    else
        echo "What the peers wrote is in $dir" >&2
    fi
}

install_texts() {
    local package root=() missing=()
    for package in fortunes fortunes-ru fortunes-zh fortunes-es fortunes-br; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if ((${#missing[@]} > 0)); then
        if [[ $(id -u) != 0 ]]; then root=(sudo); fi
        "${root[@]}" apt-get update -q
        "${root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}"
    fi
}

now() {
    date +%s.%N
}

# Sends one third; the ids of what is acknowledged go into a file, and none is in there twice.
say() {
    ctl "$1" send -0 --key fortunes <"$dir/texts.$1" >>"$dir/acknowledged.$1"
}

# How many texts a peer has to say.
count_texts() {
    tr -cd '\0' <"$dir/texts.$1" | wc -c
}

# All thirds at once. In the middle of it, one peer may die.
say_all() {
    local peer sending=()
    for peer in "${senders[@]}"; do
        say "$peer" 2>"$dir/send.$peer.log" &
        sending+=($!)
    done
    if [[ $with_kill == yes ]]; then kill_in_the_middle; fi
    for peer in "${!senders[@]}"; do
        if ! wait "${sending[peer]}" && [[ $with_kill == no || ${senders[peer]} != "$killed" ]]; then
            cat "$dir/send.${senders[peer]}.log" >&2
            fail "p2pctl send at peer ${senders[peer]} failed"
        fi
    done
    if [[ $with_kill == yes ]]; then say_again; fi
}

# As soon as the peer itself shows a tenth of what it has to say.
kill_in_the_middle() {
    local tenth=$(($(count_texts "$killed") / 10))
    ctl "$killed" watch --all --count "$tenth" --for 300s --from "$(own_id "$killed")" >/dev/null
    kill_peer "$killed"
    echo "  peer $killed was killed when it had shown $tenth of its texts"
}

say_again() {
    local acknowledged
    acknowledged=$(wc -l <"$dir/acknowledged.$killed")
    echo "  it had acknowledged $acknowledged of $(count_texts "$killed") texts"
    ((acknowledged < $(count_texts "$killed"))) || fail "the kill came too late to show anything"
    start_peer "$killed" b 2
    say "$killed"
}

own_id() {
    tr -d '\n' <"$dir/$1/ready.json" | sed -n 's/.*"id" *: *"\([^"]*\)".*/\1/p'
}

# Waits until a peer has shown as many posts as there are texts, then takes all that it holds.
take_history() {
    ctl "$1" watch --all --count "$2" --for 600s -o json >/dev/null
    ctl "$1" watch --all --until-caught-up -o json >"$dir/history.$1"
}

run() {
    local peer count begin said held last
    make_network
    count=$(python3 tests/fortunes.py split "$texts" "$dir" "${senders[@]}")
    echo "Starting six peers:"
    start_six
    begin=$(now)
    say_all
    said=$(now)
    for peer in "${peers[@]}"; do
        take_history "$peer" "$count"
    done
    held=$(now)
    start_peer seventh 4
    take_history seventh "$count"
    last=$(now)
    echo "Checking seven histories of $count posts:"
    python3 tests/fortunes.py check "$dir" "${senders[*]}" "${peers[@]}" seventh
    python3 tests/fortunes.py figures "$dir" "$begin" "$said" "$held" "$last" "${peers[@]}" seventh
}

for argument in "$@"; do
    case $argument in
        --install) install_texts ;;
        --kill) with_kill=yes ;;
        *) fail "usage: ${0##*/} [--install] [--kill]" ;;
    esac
done
trap finish EXIT
run
