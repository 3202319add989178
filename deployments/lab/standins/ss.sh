#!/bin/sh
# ss: what really listens on the host's own address; its SSH server is shown on port 22, where a site has it.
case $* in -*H*) ;; *) printf 'State  Recv-Q Send-Q Local-Address:Port Peer-Address:Port\n' ;; esac
PATH=$POOLKEEPER_LAB_PATH
IFS=. read -r a b c d <<END
$POOLKEEPER_LAB_ADDRESS
END
own=$(printf '%02X%02X%02X%02X' "$d" "$c" "$b" "$a")
while read -r _ local _ state _; do
  [ "$state" = 0A ] || continue
  case $local in
    "$own":*) port=$((0x${local#*:})) ;;
    *) continue ;;
  esac
  [ "$port" = "$POOLKEEPER_LAB_SSH_PORT" ] && port=22
  echo "LISTEN 0      128    $POOLKEEPER_LAB_ADDRESS:$port 0.0.0.0:*"
done < /proc/net/tcp
