#!/bin/sh
# ip: one interface with the host's address, a default route, the site's own network.
address=$POOLKEEPER_LAB_ADDRESS site=${POOLKEEPER_LAB_ADDRESS%.*}
only=
while [ $# -gt 0 ]; do
  case $1 in
    -4 | -6) only=$1; shift ;;
    -o | -oneline | -br) shift ;;
    -*) echo "ip: the lab does not know option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
case ${1-} in
  a | addr | address)
    [ "$only" = -6 ] && exit 0
    echo "1: lo    inet 127.0.0.1/8 scope host lo"
    echo "2: eth0    inet $address/24 brd $site.255 scope global eth0"
    ;;
  l | link)
    echo "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000"
    echo "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP mode DEFAULT group default qlen 1000"
    ;;
  r | route)
    [ "$only" = -6 ] && exit 0
    case ${2-} in
      get) echo "$3 via $site.1 dev eth0 src $address uid 0" ;;
      *)
        echo "default via $site.1 dev eth0"
        echo "$site.0/24 dev eth0 proto kernel scope link src $address"
        ;;
    esac
    ;;
  *) echo "ip: the lab does not know: ip $*" >&2; exit 1 ;;
esac
