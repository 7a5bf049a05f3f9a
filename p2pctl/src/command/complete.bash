
# Peers and rooms are what the daemon knows. What it says has no character that a shell reads anything into.
_p2pctl_found() {
    _p2pctl "$@"
    local found IFS=$'\n'
    found=$(p2pctl complete --timeout 1s "$COMP_CWORD" -- "${COMP_WORDS[@]}" 2>/dev/null)
    if [[ -n $found ]]; then
        COMPREPLY=($found)
    fi
}
complete -F _p2pctl_found -o bashdefault -o default p2pctl
