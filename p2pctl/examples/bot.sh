#!/bin/sh
# A bot for the rooms that are given, or for all: answers "!time", "!echo WORDS" and "!help".
#
#     p2pctl/examples/bot.sh general
#
# Everything behind its name goes to `p2pctl watch`. It runs itself for each post, which comes as variables: no text of
# anybody is ever a part of a command. With the key a question is answered once, also when the bot begins with --all.
set -eu

if [ "${BOT_ANSWERS-}" != yes ]; then
    export BOT="$0" BOT_ANSWERS=yes
    exec p2pctl watch --no-own "$@" --exec 'exec "$BOT"'
fi

case $P2P_TEXT in
    '!time') answer="it is $(date -u '+%H:%M') UTC" ;;
    '!echo '*) answer="$P2P_NAME says: ${P2P_TEXT#!echo }" ;;
    '!help') answer='I know !time, !echo WORDS and !help' ;;
    *) exit 0 ;;
esac
exec p2pctl send --quiet --room "$P2P_ROOM" --re "$P2P_ID" --key "bot $P2P_ID" -- "$answer" >/dev/null
