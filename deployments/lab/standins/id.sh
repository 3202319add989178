#!/bin/sh
# id: `ops` after login, root after sudo.
if [ "${POOLKEEPER_LAB_AS-}" = root ]; then number=0 name=root; else number=1000 name=ops; fi
case $* in
  -u | -g | -ru) echo "$number" ;;
  -un | -gn | -nu) echo "$name" ;;
  "") echo "uid=$number($name) gid=$number($name) groups=$number($name)" ;;
  *) echo "id: the lab does not know: id $*" >&2; exit 1 ;;
esac
