#!/usr/bin/env bash
# Makes the pictures of the README from a real run of four daemons: p2pctl/pictures/chat.svg and top.svg.
#
#   tests/demo/pictures.sh [PYTHON]
#
# Needs tmux, and a Python that has the package rich, which turns what a terminal shows into a picture. BIN is where the
# programs are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bin=$(realpath "${BIN:-${CARGO_TARGET_DIR:-target}/debug}")
python=${1:-python3}
pictures=p2pctl/pictures
dir=$(mktemp -d)
people=(alice bob carol dave)
screen="tmux -L p2pd-pictures-$$"
prefix=
. tests/demo/peers.sh

end() {
    $screen kill-server 2>/dev/null || true
    for name in "${people[@]}"; do stop_peer "$name"; done
    rm -rf "$dir"
}
trap end EXIT

# await TEXT: until the terminal shows it.
await() {
    for _ in {1..200}; do
        if $screen capture-pane -p | grep -qF -- "$1"; then return; fi
        sleep 0.05
    done
    $screen capture-pane -p >&2
    fail "the terminal never showed: $1"
}

# show COLUMNS ROWS COMMAND…: in a terminal of its own.
show() {
    local columns=$1 rows=$2
    shift 2
    $screen -f /dev/null new-session -d -x "$columns" -y "$rows" "exec env TZ=UTC TERM=tmux-256color $*"
}

take() {
    $screen capture-pane -epN >"$dir/screen"
    COLUMNS=$2 "$python" - "$dir/screen" "$pictures/$1.svg" "$3" <<'PYTHON'
import os, re, sys
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

text = open(sys.argv[1], encoding="utf-8").read().rstrip("\n")
console = Console(record=True, width=int(os.environ["COLUMNS"]), file=open(os.devnull, "w"), force_terminal=True)
console.print(Text.from_ansi(text), end="", no_wrap=True, soft_wrap=True)
svg = console.export_svg(title=sys.argv[3], theme=MONOKAI, unique_id=sys.argv[3].split()[-1])
# No font is fetched from anywhere: the reader's own will do.
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
svg = svg.replace("Fira Code, monospace", "monospace")
open(sys.argv[2], "w", encoding="utf-8").write(svg)
PYTHON
    $screen kill-server
}

make_network
start_peer alice
for name in bob carol dave; do start_peer "$name" alice; done
ctl alice wait --ready --peers 3 --timeout 30s >/dev/null

ctl bob send "the new build is on all four machines" >/dev/null
ctl carol send -r deploy "rolling out 1.4.2 to rack 7" >/dev/null
id=$(ctl carol send "did anybody look at the queue on node-12?")
ctl dave send --re "$id" "yes: it was the disk, and it is swapped" >/dev/null
ctl alice wait --synced --timeout 30s >/dev/null
stop_peer dave
until [[ $(ctl alice status -o json) == *'"peers_up":2'* ]]; do sleep 0.05; done

show 96 16 "$bin/p2pctl" -s "$dir/alice/p2pd.sock" chat
await "it is swapped"
$screen send-keys -l "thanks! I close the ticket"
$screen send-keys Enter
await "ticket ["
ctl bob send "lunch at noon, then?" >/dev/null
await "lunch at noon"
ctl carol send -r deploy "done, no errors" >/dev/null
$screen send-keys -l "/reply "
await "/reply"
await "deploy 1"
take chat 96 "p2pctl chat"

start_peer dave alice
(for number in {1..400}; do echo "sample $number"; sleep 0.03; done | ctl bob send -q -l -r samples >/dev/null) &
talking=$!
show 96 12 "$bin/p2pctl" -s "$dir/alice/p2pd.sock" top
await "carol"
# Long enough for its curves to show something.
sleep 8
take top 96 "p2pctl top"
wait "$talking"
