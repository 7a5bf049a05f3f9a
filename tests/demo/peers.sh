# shellcheck shell=bash
# Peers as processes on this machine, for scripts: source this with `dir` (where they keep everything) and `bin`
# (where the programs are) set; `prefix` stands in front of a peer's own name. Nothing of this machine's own configuration
# leaks in.

: "${dir:?}" "${bin:?}" "${prefix=peer-}"

fail() {
    echo "${0##*/}: $1" >&2
    exit 1
}

# Makes the folder, a network key and a configuration that says nothing more.
make_network() {
    local name
    [[ -x $bin/p2pd && -x $bin/p2pctl ]] || fail "$bin/p2pd is not there: run make build first"
    for name in $(compgen -e | grep -E '^P2P(CTL)?_'); do
        unset "$name"
    done
    mkdir -p "$dir"
    "$bin/p2pd" keygen --if-missing "$dir/network.key" >/dev/null
    echo 'log_level: info' >"$dir/config.yaml"
    export P2P_NETWORK_SECRET_FILE="$dir/network.key"
}

# ctl PEER ARGUMENTS…
ctl() {
    local peer=$1
    shift
    "$bin/p2pctl" -s "$dir/$peer/p2pd.sock" "$@"
}

# The first address that a peer listens at, from its ready file.
address() {
    tr -d '\n' <"$dir/$1/ready.json" | sed -n 's/.*"listen" *: *\[ *"\([^"]*\)".*/\1/p'
}

# start_peer PEER [PEER_TO_DIAL…]: at a free port; comes back when it is ready.
start_peer() {
    local peer=$1 other args=()
    shift
    for other in "$@"; do
        args+=(-p "$(address "$other")")
    done
    mkdir -p "$dir/$peer"
    rm -f "$dir/$peer/ready.json"
    "$bin/p2pd" run -c "$dir/config.yaml" --name "$prefix$peer" -l 127.0.0.1:0 --data-dir "$dir/$peer/data" \
        --api "unix:$dir/$peer/p2pd.sock" --ready-file "$dir/$peer/ready.json" "${args[@]}" \
        </dev/null >>"$dir/$peer/log" 2>&1 &
    echo $! >"$dir/$peer/pid"
    disown
    wait_ready "$peer" && return
    tail -n 5 "$dir/$peer/log" >&2
    fail "peer $peer did not start; its log is $dir/$peer/log"
}

# The ready file is written when everything is open. A daemon that ended will never write it.
wait_ready() {
    local tries pid
    pid=$(cat "$dir/$1/pid")
    for ((tries = 0; tries < 400; tries++)); do
        if [[ -s $dir/$1/ready.json ]]; then return 0; fi
        kill -0 "$pid" 2>/dev/null || return 1
        read -rt 0.05 <> <(:) || true
    done
    return 1
}

# The pid of a peer, while that pid is a p2pd.
pid_of() {
    local pid
    pid=$(cat "$dir/$1/pid" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == p2pd ]] && echo "$pid"
}

# Stops a peer: within ten seconds, or it is killed.
stop_peer() {
    local pid
    pid=$(pid_of "$1") || return 0
    kill "$pid" 2>/dev/null || return 0
    timeout 10 tail --pid="$pid" -f /dev/null || kill -9 "$pid" 2>/dev/null || true
}

# Kills a peer, and comes back when it is gone.
kill_peer() {
    local pid
    pid=$(pid_of "$1") || fail "peer $1 is not running"
    kill -9 "$pid"
    tail --pid="$pid" -f /dev/null
}

# The six of the README: a bootstrap peer b, and five more with chords between them.
peers=(b 1 2 3 4 5)

start_six() {
    local peer
    local -A dials=([b]="" [1]="b" [2]="b 1" [3]="b 2" [4]="1 2 3" [5]="b 3 4")
    for peer in "${peers[@]}"; do
        # shellcheck disable=SC2086  # A list of names.
        start_peer "$peer" ${dials[$peer]}
        echo "  peer $peer listens at $(address "$peer") and dials: ${dials[$peer]:-nobody}"
    done
    for peer in "${peers[@]}"; do
        ctl "$peer" --timeout 30s wait --peers 5 >/dev/null || fail "peer $peer does not see the other five"
    done
}
