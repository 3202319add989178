#!/bin/sh
# hostname: what the host's /etc/hostname says.
case ${1-} in
  "" | -s | -f | --short | --fqdn) read -r name < "$POOLKEEPER_ROOT/etc/hostname"; echo "$name" ;;
  -i | -I) echo "$POOLKEEPER_LAB_ADDRESS" ;;
  -*) echo "hostname: the lab does not know option $1" >&2; exit 1 ;;
  *) echo "$1" > "$POOLKEEPER_ROOT/etc/hostname" ;;
esac
