#!/bin/sh
# df: one file system of 250 GiB for all of the host, 200 GiB of it free; `df -P -k PATH...` and `-i`.
inodes=
while [ $# -gt 0 ]; do
  case $1 in
    -*i*) inodes=yes; shift ;;
    -P | -k | -Pk | -kP | -l) shift ;;
    --) shift; break ;;
    -*) echo "df: the lab does not know option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
[ $# -eq 0 ] && set -- /
for path; do
  case $path in "$POOLKEEPER_ROOT"* | /) ;; *) path=$POOLKEEPER_ROOT$path ;; esac
  [ -e "$path" ] || { echo "df: $path: No such file or directory" >&2; exit 1; }
done
total=262144000 free=209715200 unit=1024-blocks
[ -n "$inodes" ] && total=16384000 free=16000000 unit=Inodes
[ -e "$POOLKEEPER_LAB_STATE/faults/disk-full" ] && free=0
echo "Filesystem $unit Used Available Capacity Mounted on"
for path; do
  echo "/dev/vda1 $total $((total - free)) $free $(((total - free) * 100 / total))% /"
done
