#!/bin/sh
# curl: the machine's own, from the host's address; a fault takes the way to the API server away.
set -- --interface "$POOLKEEPER_LAB_ADDRESS" "$@"
if [ -e "$POOLKEEPER_LAB_STATE/faults/api-unreachable" ]; then
  case $* in
    *"$POOLKEEPER_LAB_API"[:/]*) set -- --connect-to "::$POOLKEEPER_LAB_ADDRESS:1" "$@" ;;
  esac
fi
PATH=$POOLKEEPER_LAB_PATH exec curl "$@"
