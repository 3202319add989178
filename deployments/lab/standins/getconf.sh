#!/bin/sh
# getconf: the machine's, except for what describes the host.
case ${1-} in
  _NPROCESSORS_ONLN | _NPROCESSORS_CONF) echo 8 ;;
  *) PATH=$POOLKEEPER_LAB_PATH exec getconf "$@" ;;
esac
