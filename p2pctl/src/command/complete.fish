
# Peers and rooms are what the daemon knows. What it says has no character that a shell reads anything into.
function __p2pctl_found
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    p2pctl complete --timeout 1s (count $before) -- $before "$current" 2>/dev/null
end
complete -c p2pctl -a '(__p2pctl_found)'
complete -c p2pctl -s r -l room -x -a '(__p2pctl_found)'
complete -c p2pctl -l from -x -a '(__p2pctl_found)'
