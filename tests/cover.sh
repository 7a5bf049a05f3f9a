#!/usr/bin/env bash
# Runs all tests with every line of our own code counted, also in the programs that the tests start and kill; shows what
# was reached, and fails where that is less than it was.
#
#   tests/cover.sh            all tests, then the figures
#   tests/cover.sh --html     all tests, then the figures and each line in target/cover/html
#   tests/cover.sh --tools    only whether LLVM's tools are there
#   tests/cover.sh --report   the figures of the last run, without running it again
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# In percent of lines. It may only rise.
readonly LINES_MIN=97.3
jobs=${JOBS:-$(nproc)}
export CARGO_TARGET_DIR=$PWD/target/cover

# LLVM's tools: those that belong to the compiler, or those of the system, if they can read what it writes.
find_tools() {
    if rustup component list --installed 2>/dev/null </dev/null | grep -q llvm-tools; then return; fi
    local version
    for version in {30..19}; do
        if command -v "llvm-cov-$version" "llvm-profdata-$version" >/dev/null; then
            export LLVM_COV=llvm-cov-$version LLVM_PROFDATA=llvm-profdata-$version
            return
        fi
    done
    [ -n "${LLVM_COV:-}" ] && [ -n "${LLVM_PROFDATA:-}" ]
}
if ! find_tools; then
    echo "LLVM's tools are needed, version 19 or newer; get them with: make deps" >&2
    exit 1
fi
if [ "${1:-}" = --tools ]; then exit 0; fi

set -a
eval "$(cargo llvm-cov show-env --sh --no-cfg-coverage </dev/null)"
set +a
# Counted in a file that all processes of a program share while they run (%c): a daemon that is killed has counted too.
export LLVM_PROFILE_FILE=$CARGO_TARGET_DIR/lines-%m%c.profraw
export RUSTFLAGS="${RUSTFLAGS:-} -C llvm-args=-runtime-counter-relocation"

if [ "${1:-}" != --report ]; then
    # Programs of an earlier run would be looked at too, and have other lines.
    cargo llvm-cov clean --workspace
    cargo build --locked -j "$jobs" --workspace --all-targets
    rm -f "$CARGO_TARGET_DIR"/*.profraw
    cargo test --locked -j "$jobs" --workspace --lib --bins --tests --no-fail-fast
fi

# What `main` and the compiler of the protocol wrote is nobody's to test.
report() {
    cargo llvm-cov report --locked --ignore-filename-regex '/src/main\.rs$|/target/' "$@"
}
if [ "${1:-}" = --html ]; then
    report --html --output-dir "$CARGO_TARGET_DIR"
fi
report --lcov --output-path "$CARGO_TARGET_DIR/lines.info"

# Tests stand at the end of a file, behind `#[cfg(test)]`: they are no lines that tests should reach, and are not counted.
awk -v min="$LINES_MIN" -v top="$PWD/" '
function find_end(path,    line, at, end, marked) {
    end = 0
    while ((getline line < path) > 0) {
        at++
        if (marked && line ~ /^mod /) { end = at - 1; break }
        marked = line == "#[cfg(test)]"
    }
    close(path)
    return end
}
/^SF:/ { path = substr($0, 4); name = path; sub(top, "", name); end = find_end(path) }
/^DA:/ {
    split(substr($0, 4), field, ",")
    if (end && field[1] + 0 >= end) next
    lines++
    if (field[2] + 0 == 0) { missed++; lost[name] = lost[name] " " field[1]; count[name]++ }
}
END {
    if (!lines) { print "no line was counted" > "/dev/stderr"; exit 1 }
    for (name in lost) printf "%5d  %s:%s\n", count[name], name, lost[name] | "sort -rn"
    close("sort -rn")
    share = 100 * (lines - missed) / lines
    printf "%.2f %% of %d lines are reached by tests; at least %.2f %% must be\n", share, lines, min
    if (share < min) exit 1
    if (share > min + 0.5) printf "LINES_MIN in tests/cover.sh can rise to %.1f\n", share - 0.2
}' "$CARGO_TARGET_DIR/lines.info"
