# Peers and rooms are what the daemon knows. What it says has no character that a shell reads anything into.
_p2pctl() {
    local -a found
    found=(${(f)"$(p2pctl complete --timeout 1s $((CURRENT - 1)) -- "${words[@]}" 2>/dev/null)"})
    if (( $#found )); then
        compadd -a found
    else
        _p2pctl_words "$@"
    fi
}
