#!/usr/bin/env bash
# Six peers as processes on this machine: a bootstrap peer b, and five more with chords between them.
#
#   1 -> b    2 -> b 1    3 -> b 2    4 -> 1 2 3    5 -> b 3 4
#
# local.sh start    starts them, says something at b, and shows that the other five printed it
# local.sh stop     stops them and removes what they wrote
#
# P2P_DEMO_DIR is where they keep everything; BIN is where the programs are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

dir=${P2P_DEMO_DIR:-.p2p/demo}
bin=${BIN:-${CARGO_TARGET_DIR:-target}/debug}
# shellcheck source=tests/demo/peers.sh
source tests/demo/peers.sh

start() {
    stop
    make_network
    # What failed stays to be looked at, but nothing goes on running.
    trap stop_all EXIT
    echo "Starting six peers:"
    start_six
    echo "Each of them sees the other five."
    show_a_line "hello from b, said at $(date +%H:%M:%S)"
    trap - EXIT
    show_what_next
}

# Five clients wait for the line before it is said.
show_a_line() {
    local line=$1 peer watching=() at
    for peer in "${peers[@]:1}"; do
        ctl "$peer" watch --all --count 1 --for 30s >"$dir/$peer/seen" &
        watching+=($!)
    done
    echo
    echo "\$ p2pctl -s $dir/b/p2pd.sock send \"$line\""
    ctl b send "$line"
    for at in "${!watching[@]}"; do
        peer=${peers[at + 1]}
        if ! wait "${watching[at]}" || ! grep -qF -- "$line" "$dir/$peer/seen"; then
            fail "p2pctl watch at peer $peer did not print it"
        fi
        echo "  peer $peer printed: $(cat "$dir/$peer/seen")"
    done
    echo "All five printed it."
}

show_what_next() {
    cat <<END

The six go on running. Talk at one, watch at another, and say something at a third:
  $bin/p2pctl -s $dir/2/p2pd.sock chat
  $bin/p2pctl -s $dir/1/p2pd.sock watch
  $bin/p2pctl -s $dir/5/p2pd.sock send hello from five
  $bin/p2pctl -s $dir/b/p2pd.sock peers
  $bin/p2pctl -s $dir/4/p2pd.sock history
Stop them and remove what they wrote:
  make demo-local-stop
END
}

stop_all() {
    local peer
    for peer in "${peers[@]}"; do
        stop_peer "$peer"
    done
}

# Removes what this script made, and nothing else.
stop() {
    local peer
    [[ -d $dir ]] || return 0
    stop_all
    for peer in "${peers[@]}"; do
        rm -rf "${dir:?}/$peer"
    done
    rm -f "$dir/network.key" "$dir/config.yaml"
    rmdir -p --ignore-fail-on-non-empty "$dir"
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    *) fail "usage: ${0##*/} start|stop" ;;
esac
