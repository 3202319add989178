#!/bin/sh
# date: the machine's, ahead by what the clock fault says.
PATH=$POOLKEEPER_LAB_PATH
[ -e "$POOLKEEPER_LAB_STATE/faults/clock" ] || exec date "$@"
for word; do
  case $word in -d | --date* | -s | --set* | -r) exec date "$@" ;; esac
done
now=$(date +%s.%N)
exec date -d "@$((${now%.*} + 600)).${now#*.}" "$@"
