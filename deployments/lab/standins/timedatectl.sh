#!/bin/sh
# timedatectl: the clock is kept by NTP unless the clock fault says otherwise.
kept=yes
[ -e "$POOLKEEPER_LAB_STATE/faults/clock" ] && kept=no
case $* in
  "show -p NTPSynchronized --value" | "show --property=NTPSynchronized --value") echo $kept ;;
  "show -p NTPSynchronized" | "show --property=NTPSynchronized") echo NTPSynchronized=$kept ;;
  show | "") printf 'Timezone=Etc/UTC\nNTP=yes\nNTPSynchronized=%s\n' $kept ;;
  *) echo "timedatectl: the lab does not know: timedatectl $*" >&2; exit 1 ;;
esac
