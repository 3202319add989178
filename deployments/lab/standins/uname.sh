#!/bin/sh
# uname: the host's own name and kernel.
read -r release < "$POOLKEEPER_ROOT/proc/sys/kernel/osrelease"
read -r name < "$POOLKEEPER_ROOT/etc/hostname"
version="#1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)"
[ $# -eq 0 ] && set -- -s
words=
for flag; do
  case $flag in
    -a) words="$words Linux $name $release $version x86_64 GNU/Linux" ;;
    -s) words="$words Linux" ;;
    -n) words="$words $name" ;;
    -r) words="$words $release" ;;
    -v) words="$words $version" ;;
    -m | -p | -i) words="$words x86_64" ;;
    -o) words="$words GNU/Linux" ;;
    *) echo "uname: the lab does not know: uname $*" >&2; exit 1 ;;
  esac
done
echo "${words# }"
