
# Peers and rooms are what the daemon knows. What it says has no character that a shell reads anything into.
function __p2pctl_found
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -g __p2pctl_offered (p2pctl complete --timeout 1s (count $before) -- $before "$current" 2>/dev/null)
    set -q __p2pctl_offered[1]
end
# Where a peer or a room is wanted, and one is known, no file is offered beside it.
complete -c p2pctl -n __p2pctl_found -f -a '$__p2pctl_offered'
complete -c p2pctl -s r -l room -x -a '(__p2pctl_found; and printf "%s\n" $__p2pctl_offered)'
complete -c p2pctl -l from -x -a '(__p2pctl_found; and printf "%s\n" $__p2pctl_offered)'
