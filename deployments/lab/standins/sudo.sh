#!/bin/sh
# sudo: in the lab no rights change hands, only what `id` says; a fault makes it ask for a password.
ask=yes
while [ $# -gt 0 ]; do
  case $1 in
    -n | --non-interactive) ask=; shift ;;
    -E | -H | -S) shift ;;
    -u) shift 2 ;;
    -k | -K) exit 0 ;;
    -v) set -- true; break ;;
    --) shift; break ;;
    -*) echo "sudo: the lab does not know option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
if [ -e "$POOLKEEPER_LAB_STATE/faults/sudo-password" ]; then
  [ -z "$ask" ] && { echo "sudo: a password is required" >&2; exit 1; }
  printf '[sudo] password for ops: ' >&2
  read -r _
  echo "sudo: 1 incorrect password attempt" >&2
  exit 1
fi
export POOLKEEPER_LAB_AS=root
exec "$@"
