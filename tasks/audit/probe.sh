# What a host without Python can tell of SHEET: names by getent, addresses by curl, sizes by ping. One question a line:
# number kind address port name transport sizes. Whatever there is no tool for is unknown.
echo 'poolkeeper-probe begin'
have() { command -v "$1" >/dev/null 2>&1; }
within() { # at most so many seconds, where the host can tell
  if have timeout; then timeout "$@"; else shift; "$@"; fi
}
answer() { # number outcome key=value...: without durations, which date cannot tell everywhere
  number=$1 outcome=$2; shift 2
  printf 'answer\t%s\t%s\t-' "$number" "$outcome"
  for pair in "$@"; do printf '\t%s' "$pair"; done
  echo
}
look_up() { # name: its IPv4 addresses, sorted, by commas
  within 5 getent ahostsv4 "$1" 2>/dev/null | while read -r address _; do echo "$address"; done | sort -u | tr '\n' ' ' |
    sed 's/ $//; s/ /,/g'
}
failed() { # exit status of curl
  case $1 in
    6) echo no-name;; 7) echo refused;; 28|124|143) echo timeout;; 35|51|58|60|77) echo tls;; *) echo garbled;;
  esac
}
fetch() { # url: its status; fails as curl does
  within 8 curl -sS -o /dev/null --max-time 6 -w '%{http_code}' "$1" 2>/dev/null
}
printf '%s\n' "$SHEET" | while read -r number kind address port name transport sizes; do
  case $kind in
    stub)
      if ! have getent; then answer "$number" unknown 'reason=no python3 and no getent'
      else answer "$number" ok "addresses=$(look_up "$name")" rcode=NOERROR; fi;;
    settings)
      servers='' search='' ndots=1
      while read -r word rest; do
        case $word in
          nameserver) servers="$servers $rest";;
          search|domain) search=$rest;;
          options) case $rest in *ndots:*) ndots=${rest##*ndots:}; ndots=${ndots%% *};; esac;;
        esac
      done < "${POOLKEEPER_ROOT-}/etc/resolv.conf"
      answer "$number" ok "servers=${servers# }" "search=$search" "ndots=$ndots";;
    tcp)
      if ! have nc; then answer "$number" unknown 'reason=no python3 and no nc'
      elif within 5 nc -z -w 3 "$address" "$port" </dev/null >/dev/null 2>&1; then answer "$number" ok
      else answer "$number" timeout 'reason=nc does not tell why'; fi;;
    http)
      if ! have curl; then answer "$number" unknown 'reason=no python3 and no curl'
      elif status=$(fetch "http://$address:$port$name"); then answer "$number" ok "status=$status"
      else answer "$number" "$(failed $?)"; fi;;
    mtu)
      if ! have ping; then answer "$number" unknown 'reason=no python3 and no ping'; continue; fi
      largest=''
      for size in $(echo "$sizes" | tr , ' '); do
        within 5 ping -n -q -c 1 -W 2 -M do -s $((size - 28)) "$address" >/dev/null 2>&1 || break
        largest=$size
      done
      if [ -n "$largest" ]; then answer "$number" ok "largest=$largest"; else answer "$number" timeout 'reason=no echo'; fi;;
    *) answer "$number" unknown 'reason=there is no python3 on the host';;
  esac
done
echo 'poolkeeper-probe end'
