# Runs the probe program, or asks with what else the host has: POSIX shell, for dash and busybox as well.
#
# The text before it sets the variables PROBE (the program), DEADLINE_S, TIMEOUT_S, JITTER_S (whole seconds), and the
# functions `authority NAME`, which prints certificates, and `questions`, which calls `ask` with each question's fields.
# Writes no file. Answers like probe.py, one question after the other. Calls: python3, or else date curl wget nc dig
# getent ping awk sed tr cut sleep timeout; any of them may be missing.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
T='	'
have() { command -v "$1" >/dev/null 2>&1; }
within() { s=$1; shift; if have timeout; then timeout "$s" "$@"; else "$@"; fi; }
clean() { printf '%s' "$*" | tr '\t\r\n' '   ' | cut -c1-300 | sed 's/%/%25/g; s/  *$//'; }
milliseconds() { # now; empty where `date` has no nanoseconds
  at=$(date +%s%N 2>/dev/null)
  case $at in *[!0-9]*|'') ;; *) [ ${#at} -lt 16 ] || printf '%s' "${at%??????}";; esac
}
seconds() { date +%s 2>/dev/null || echo 0; }
reply() { # outcome, reason, values separated by tabs
  took=; now=$(milliseconds)
  if [ -n "$began" ] && [ -n "$now" ]; then took=$((now - began)); fi
  printf '%s\t%s\t%s\t%s%s\n' "$number" "$1" "$took" "$(clean "$2")" "${3:+$T$3}"
}
cannot() { printf '%s\tunknown\t\t%s\n' "$number" "$(clean "$*")"; }
outcome_of() { # a tool's error message, the outcome if it matches none
  case $1 in
    *[Rr]efused*) echo refused;;
    *[Tt]imed\ out*|*imeout*|*TIMEOUT*) echo timeout;;
    *nreachable*|*No\ route*|*rohibited*|*not\ permitted*) echo unreachable;;
    *resolve*|*bad\ address*|*not\ known*) echo no-name;;
    *) echo "$2";;
  esac
}
ask_tcp() {
  have nc || { cannot 'the host has neither python3 nor nc'; return; }
  if said=$(within $((TIMEOUT_S + 1)) nc -v -z -w "$TIMEOUT_S" "$address" "$port" 2>&1); then reply ok ''
  elif [ $? -eq 124 ]; then reply timeout 'no answer in time'
  else reply "$(outcome_of "$said" unknown)" "${said:-nc fails without a message}"; fi
}
ask_url() { # scheme, path
  where=$address; case $where in *:*) where="[$where]";; esac
  have curl || { ask_wget "$1" "$2"; return; }
  set -- "$1://${server_name:-$where}:$port${2:-/}" -sSv -g --noproxy '*' --max-time "$TIMEOUT_S" -w '\n%{http_code}'
  if [ -n "$server_name" ]; then set -- "$@" --connect-to "::$where:$port" -H "Host: $where:$port"; fi
  if [ -n "$authority" ]; then set -- "$@" --cacert /dev/stdin; fi
  said=$(authority "$authority" | curl -o /dev/null "$@" 2>&1)
  failed=$?
  reason=$(printf '%s\n' "$said" | sed -n 's/^curl: //p' | head -n 1)
  case $failed in
    0) reply ok '' "status=${said##*"
"}";;
    6) reply no-name "$reason" stage=name;;
    7) reply "$(outcome_of "$said" unknown)" "$reason" stage=connect;; # the reason alone does not say which
    28) reply timeout "$reason";;
    51|60) reply tls "$reason" "stage=tls$T$(clean "verified=${reason:-no}")";;
    35|58|59|83|90) reply tls "$reason" stage=tls;;
    1|8|52|56) reply garbled "$reason" stage=http;;
    *) reply unknown "${reason:-curl ends with $failed}";;
  esac
}
ask_wget() { # scheme, path
  [ "$1" = http ] && have wget || { cannot "the host has neither python3 nor curl, which $1 needs"; return; }
  said=$(within $((TIMEOUT_S + 1)) wget -S -O /dev/null -T "$TIMEOUT_S" "http://$where:$port${2:-/}" 2>&1)
  failed=$?
  status=$(printf '%s\n' "$said" | sed -n 's,^ *HTTP/1\.[01] \([0-9][0-9][0-9]\).*,\1,p' | tail -n 1)
  if [ -n "$status" ]; then reply ok '' "status=$status"
  elif [ $failed -eq 124 ]; then reply timeout 'no answer in time'
  else reply "$(outcome_of "$said" unknown)" "${said##*"
"}"; fi
}
ask_metrics() {
  if ! have curl || ! have awk; then cannot 'the host has neither python3 nor both curl and awk'; return; fi
  where=$address; case $where in *:*) where="[$where]";; esac
  if ! said=$(curl -sS -f -g --noproxy '*' --max-time "$TIMEOUT_S" --max-filesize 524288 "http://$where:$port/metrics" 2>&1)
  then reply "$(outcome_of "$said" unknown)" "$said"; return; fi
  found=$(printf '%s\n' "$said" | awk '
    /^coredns_cache_hits_total[{ ]/ { h += $NF; hits = 1 }
    /^coredns_cache_misses_total[{ ]/ { m += $NF; misses = 1 }
    /^coredns_(forward_requests_total|forward_request_count_total|proxy_request_duration_seconds_count)[{ ]/ { f += $NF; forwards = 1 }
    /^coredns_dns_(responses_total|response_rcode_count_total)[{ ]/ { errors = 1; if (/rcode="SERVFAIL"/) e += $NF }
    END {
      if (hits) printf "\thits=%.0f", h; if (misses) printf "\tmisses=%.0f", m
      if (forwards) printf "\tforwards=%.0f", f; if (errors) printf "\terrors=%.0f", e
    }')
  if [ -n "$found" ]; then reply ok '' "${found#?}"; else reply garbled 'its metrics have no counter of a DNS cache'; fi
}
ask_dns() {
  have dig || { cannot 'the host has neither python3 nor dig'; return; }
  case $record in A|AAAA|'') ;; *) cannot "no such type of record: $record"; return;; esac
  set -- "@$address" -p "$port" "${name%.}." "${record:-A}" +noedns +ignore +tries=1 +nosearch "+time=$TIMEOUT_S"
  [ "$transport" != tcp ] || set -- "$@" +tcp
  said=$(within $((TIMEOUT_S + 1)) dig "$@" 2>&1)
  rcode=$(printf '%s\n' "$said" | sed -n 's/.*->>HEADER<<-.*status: \([A-Z]*\),.*/\1/p')
  if [ -z "$rcode" ]; then reply "$(outcome_of "$said" unknown)" "$(printf '%s\n' "$said" | sed -n 's/^;; *//p' | head -n 1)"; return; fi
  cut=no; case $said in *";; flags:"*" tc"[\ \;]*) cut=yes;; esac
  found=$(printf '%s\n' "$said" | sed -n "s/^[^;].*[[:space:]]${record:-A}[[:space:]]\{1,\}\([0-9A-Fa-f.:]*\)\$/\1/p" | sort | tr '\n' ',')
  reply ok '' "rcode=$rcode${T}truncated=$cut${T}addresses=${found%,}"
}
ask_stub() {
  have getent || { cannot 'the host has neither python3 nor getent'; return; }
  case $record in
    A) base=ahostsv4;;
    AAAA) cannot 'the host has no python3, and IPv6 addresses from getent are not reliable'; return;;
    *) base=ahosts;;
  esac
  said=$(within "$TIMEOUT_S" getent $base "$name" 2>&1)
  case $? in
    0) reply ok '' "addresses=$(printf '%s\n' "$said" | sed 's/[[:space:]].*//' | sort -u | tr '\n' ',' | sed 's/,$//')";;
    2) reply no-name 'getent finds no address; it does not report whether a server answered' certain=no;;
    124|143) reply timeout 'no answer in time';;
    *) reply unknown "getent: $said";;
  esac
}
ask_mtu() {
  have ping || { cannot 'the host has neither python3 nor ping'; return; }
  reported= largest=
  for size in $(echo "$sizes" | tr ',' '\n' | sort -rn); do
    case $address in *:*) body=$((size - 48));; *) body=$((size - 28));; esac
    if said=$(within $((TIMEOUT_S + 1)) ping -n -M do -c 1 -W "$TIMEOUT_S" -s "$body" "$address" 2>&1); then largest=$size; break; fi
    case $said in
      *nvalid\ option*|*nrecognized\ option*|*sage:*) cannot 'the host has no python3, and its ping cannot set don'\''t-fragment'; return;;
      *not\ permitted*|*ermission\ denied*) cannot 'no right to send echo requests'; return;;
      *mtu*=*) now=$(printf '%s\n' "$said" | sed -n 's/.*mtu *= *\([0-9]*\).*/\1/p' | head -n 1); reported=${now:-$reported};;
    esac
  done
  reported=${reported:+reported=$reported}
  if [ -n "$largest" ]; then reply ok '' "largest=$largest${reported:+$T$reported}"
  elif [ -n "$reported" ] && [ "${reported#*=}" -lt "$size" ]; then reply ok '' "largest=0$T$reported"
  else reply "$(outcome_of "$said" timeout)" 'no answer' "$reported"; fi
}
ask_settings() {
  file=${POOLKEEPER_ROOT-}/etc/resolv.conf
  [ -r "$file" ] || { reply unknown '/etc/resolv.conf cannot be read'; return; }
  servers= search= ndots=1
  while read -r word first rest || [ -n "$word" ]; do
    case $word in
      nameserver) servers=$servers,$first;;
      domain) search=$first;;
      search) search=$(echo $first $rest | tr ' ' ',');;
      options) for option in $first $rest; do case $option in ndots:*[!0-9]*) ;; ndots:?*) ndots=${option#ndots:};; esac; done;;
    esac
  done < "$file"
  reply ok '' "$(clean "servers=${servers#,}")$T$(clean "search=$search")${T}ndots=$ndots"
}
ask() { # fields of a question, as `questions` gives them
  number=$1 kind=$2 address=$3 port=$4 name=$5 transport=$6 record=$7 authority=$8 sizes=$9 server_name=${10}
  began=$(milliseconds)
  if [ "$(seconds)" -ge "$ends" ]; then cannot 'the deadline passed before this question'; return; fi
  case $kind in
    tcp|dns|stub|mtu|metrics|settings) "ask_$kind";;
    api) ask_url https "${name:-/readyz}";;
    http|https) ask_url "$kind" "$name";;
    *) cannot "the host has no python3, which $kind needs";;
  esac
}

for python in python3 /usr/libexec/platform-python; do
  if have "$python"; then
    printf '%s\n' "$PROBE" | "$python" -I -S -B - # B: as root it would write compiled files
    case $? in 1|2|126|127) ;; *) exit 0;; esac # these: it did not start
  fi
done
echo
echo 'poolkeeper-probe begin'
[ "$JITTER_S" -eq 0 ] || sleep $(($$ % (JITTER_S + 1)))
ends=$(($(seconds) + DEADLINE_S))
questions
echo 'poolkeeper-probe end'
