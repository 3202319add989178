# Facts of a host in one round trip: POSIX shell, for dash and busybox as well; it changes nothing.
#
# Answers lines `fact NAME VALUE` and `unknown NAME REASON`; a fact that is a list has several lines, and
# `fact NAME` without a value says that the list is empty. `poolkeeper-facts begin|end` stand around them.
# A tool that fails makes its fact unknown: no answer is never an empty answer.
#
# Reads below ${POOLKEEPER_ROOT-} (empty on a real host): /etc/{os-release,machine-id,resolv.conf,kubernetes,cni/net.d},
# /usr/lib/os-release, /etc/containerd/config.toml, /run/*/*.sock, /snap, /var/lib/{docker,containers}, units of systemd and
# the files of their environment,
# /proc/{meminfo,mounts,swaps,sys/kernel/random/boot_id,sys/net/ipv4/ip_forward,net/tcp,net/tcp6},
# /proc/driver/nvidia/gpus, /sys/{bus/pci/devices,class/dmi/id/product_uuid,class/net,fs/cgroup}, /run/systemd/system, /var/lib/{kubelet,containerd},
# /var/run/reboot-required, /etc/{environment,apt,dnf}. Calls: uname date df getconf hostname ip ss getent nslookup
# timedatectl systemctl containerd dockerd crio podman k3s rke2 k0s kubelet curl mktemp timeout; any may be missing.
# Takes from its environment: API_URL, API_AT (where that is, if not at the URL's own name), API_CA (PEM), EXTERNAL_NAME.
LC_ALL=C; export LC_ALL
R=${POOLKEEPER_ROOT-}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
fact() { n=$1; shift; printf 'fact %s %s\n' "$n" "$*"; }
unknown() { n=$1; shift; printf 'unknown %s %s\n' "$n" "$*"; }
within() { s=$1; shift; if have timeout; then timeout "$s" "$@"; else "$@"; fi; }
first() { IFS= read -r line < "$1" 2>/dev/null || [ -n "$line" ]; printf '%s' "$line"; line=; }
value() { # name, then a command: its output as the fact
  n=$1; shift
  if ! have "$1"; then unknown "$n" "no $1"
  elif found=$("$@" 2>/dev/null) && [ -n "$found" ]; then fact "$n" "$found"
  else unknown "$n" "$1 fails"; fi
}
file() { # name, path: the first line of a file
  if [ -r "$R$2" ]; then fact "$1" "$(first "$R$2")"
  elif [ -e "$R$2" ]; then unknown "$1" "$2 cannot be read without more rights"
  else unknown "$1" "there is no $2"; fi
}

echo
echo 'poolkeeper-facts begin'

# who it is
value clock date +%s.%N
if have hostname; then value hostname hostname; else value hostname uname -n; fi
cr=$(printf '\r') bom=$(printf '\357\273\277')
setting() { # name, path: the last value that a file gives it, without quotes; the file is read and never run
  found=
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line#"$bom"} line=${line%"$cr"}
    line=${line#"${line%%[![:space:]]*}"}
    case $line in "$1="*) found=${line#*=};; esac
  done < "$2"
  case $found in
    '"'*) found=${found#?}; found=${found%%'"'*};;
    "'"*) found=${found#?}; found=${found%%"'"*};;
    *) found=${found%%[[:space:]]*};;
  esac
  printf '%s' "$found"
}
release=/etc/os-release
[ -e "$R$release" ] || [ ! -e "$R/usr/lib/os-release" ] || release=/usr/lib/os-release
for name in ID VERSION_ID; do
  case $name in ID) n=os_id;; *) n=os_version;; esac
  if [ ! -e "$R$release" ]; then unknown $n "there is no $release"
  elif [ ! -r "$R$release" ]; then unknown $n "$release cannot be read without more rights"
  elif found=$(setting $name "$R$release") && [ -n "$found" ]; then fact $n "$found"
  else unknown $n "os-release has no $name"; fi
done
value kernel uname -r
value machine uname -m
file machine_id /etc/machine-id
file boot_id /proc/sys/kernel/random/boot_id
file product_uuid /sys/class/dmi/id/product_uuid

# what it is made of
if have nproc; then value cpus nproc; else value cpus getconf _NPROCESSORS_ONLN; fi
# GPUs: display and 3D controllers (0x0300, 0x0302) of NVIDIA (0x10de) and AMD (0x1002), whose larger ones are other display
# controllers (0x0380) and accelerators (0x1200). A function that belongs to another (physfn) is a part of a GPU.
if [ -d "$R/sys/bus/pci/devices" ]; then
  gpus=0 unread=
  for device in "$R"/sys/bus/pci/devices/*; do
    [ -e "$device" ] || [ -L "$device" ] || continue
    class= vendor=
    { read -r class < "$device/class" && read -r vendor < "$device/vendor"; } 2>/dev/null || unread=${device##*/}
    case $vendor.$class in
      0x10de.0x0300??|0x10de.0x0302??|0x1002.0x0300??|0x1002.0x0302??|0x1002.0x0380??|0x1002.0x1200??)
        [ -e "$device/physfn" ] || gpus=$((gpus + 1));;
    esac
  done
  if [ -n "$unread" ]; then unknown gpus "PCI device $unread cannot be read"; else fact gpus $gpus; fi
elif [ -d "$R/proc/driver/nvidia/gpus" ]; then
  if found=$(ls -A "$R/proc/driver/nvidia/gpus" 2>/dev/null); then set -- $found; fact gpus $#
  else unknown gpus '/proc/driver/nvidia/gpus cannot be looked into without more rights'; fi
else unknown gpus 'there is no PCI bus to look at'; fi
if [ -r "$R/proc/meminfo" ]; then
  while read -r key size _; do
    case $key in MemTotal:) fact memory_kb "$size";; SwapTotal:) fact swap_kb "$size";; esac
  done < "$R/proc/meminfo"
else unknown memory_kb 'there is no /proc/meminfo'; unknown swap_kb 'there is no /proc/meminfo'; fi
if have df; then
  for path in / /var/lib/kubelet /var/lib/containerd /var/log; do
    at=$R$path
    while [ ! -e "$at" ] && [ "$at" != "$R" ] && [ "$at" != / ] && [ -n "$at" ]; do at=${at%/*}; done
    if found=$(within 10 df -Pk "${at:-/}" 2>/dev/null); then
      printf '%s\n' "$found" | while read -r _ size _ free _ mount; do
        case $size in *[!0-9]*|'') ;; *) fact disk "$size $free $mount $path";; esac
      done
    else unknown disk "df $path fails or hangs"; fi
  done
else unknown disk 'no df command'; fi
if [ -e "$R/sys/fs/cgroup/cgroup.controllers" ]; then fact cgroup_version 2
elif [ -d "$R/sys/fs/cgroup" ]; then fact cgroup_version 1
else unknown cgroup_version 'there is no /sys/fs/cgroup'; fi
fact open_files_limit "$(ulimit -n)"
file ip_forward /proc/sys/net/ipv4/ip_forward
if [ -d "$R/run/systemd/system" ]; then fact systemd yes; else fact systemd no; fi
if [ -e "$R/var/run/reboot-required" ] || [ -e "$R/run/reboot-required" ]; then fact reboot_required yes
elif [ -d "$R/etc/apt" ]; then fact reboot_required no
elif have needs-restarting; then
  within 30 needs-restarting -r >/dev/null 2>&1
  case $? in 0) fact reboot_required no;; 1) fact reboot_required yes;; *) unknown reboot_required 'needs-restarting fails';; esac
else unknown reboot_required 'no sentinel file and no needs-restarting'; fi
manager=
for name in apt-get dnf yum zypper apk; do
  if have $name; then manager=$name; break; fi
done
if [ -n "$manager" ]; then fact package_manager $manager; else unknown package_manager 'none that is known'; fi

# its clock
if have timedatectl; then
  case $(within 5 timedatectl show -p NTPSynchronized --value 2>/dev/null) in
    yes) fact clock_synchronised yes;; no) fact clock_synchronised no;; *) unknown clock_synchronised 'timedatectl does not tell';;
  esac
else unknown clock_synchronised 'no timedatectl'; fi

# names
ask() { # address of a resolver, how many there are: yes, no, or unknown and why
  name=${EXTERNAL_NAME:-aliyun.com}
  if have nslookup; then
    if within 6 nslookup "$name" "$1" >/dev/null 2>&1; then echo yes; else echo no; fi
  elif ! have getent; then echo 'unknown no nslookup to ask it with'
  # a minimal host: the system asks all of them, so none answers, or one of them does
  elif ! within 6 getent ahosts "$name" >/dev/null 2>&1; then echo no
  elif [ "$2" = 1 ]; then echo yes
  else echo 'unknown one of the resolvers answers, and there is no nslookup to tell which'; fi
}
if [ -r "$R/etc/resolv.conf" ]; then
  fact resolver
  asked=0 all=0
  while read -r key address _ || [ -n "$key" ]; do
    if [ "$key" = nameserver ] && [ -n "$address" ]; then all=$((all + 1)); fi
  done < "$R/etc/resolv.conf"
  while read -r key address _ || [ -n "$key" ]; do
    [ "$key" = nameserver ] && [ -n "$address" ] || continue
    asked=$((asked + 1))
    if [ $asked -gt 3 ]; then fact resolver "$address unknown the system never asks more than three"
    else fact resolver "$address $(ask "$address" "$all")"; fi
  done < "$R/etc/resolv.conf"
else unknown resolver 'there is no /etc/resolv.conf'; fi
if have getent; then
  within 6 getent hosts "$(if have hostname; then hostname; else uname -n; fi)" >/dev/null 2>&1
  case $? in
    0) fact own_name_resolves yes;;
    2|124|143) fact own_name_resolves no;; # not found, or no answer in time
    *) unknown own_name_resolves 'getent fails';;
  esac
else unknown own_name_resolves 'no getent'; fi

# network
if ! have ip; then
  unknown address 'no ip command'; unknown route 'no ip command'; unknown mtu 'no ip command'
else
  if found=$(ip -o addr show 2>/dev/null); then
    fact address
    printf '%s\n' "$found" | while read -r _ _ family address _; do
      case $family in inet|inet6) fact address "${address%%/*}";; esac
    done
  else unknown address 'ip addr fails'; fi
  if found=$(ip -o -4 route show 2>/dev/null); then
    fact route
    { printf '%s\n' "$found"; ip -o -6 route show 2>/dev/null; } | while read -r to next _; do
      case $to in blackhole|unreachable|prohibit|throw|unicast|multicast|local|broadcast|anycast|nat) to=$next;; esac
      [ -z "$to" ] || fact route "$to"
    done
  else unknown route 'ip route fails'; fi
  if found=$(ip -o link show 2>/dev/null); then
    fact mtu
    printf '%s\n' "$found" | while read -r _ name rest; do
      set -f; set -- $rest
      while [ $# -gt 1 ]; do if [ "$1" = mtu ]; then fact mtu "${name%%[:@]*} $2"; fi; shift; done
    done
  else unknown mtu 'ip link fails'; fi
fi
if have ss && found=$(ss -Hltn 2>/dev/null); then
  fact port
  printf '%s\n' "$found" | while read -r _ _ _ local _; do [ -z "$local" ] || fact port "${local##*:}"; done
elif [ -r "$R/proc/net/tcp" ]; then
  fact port
  for table in "$R/proc/net/tcp" "$R/proc/net/tcp6"; do
    [ -r "$table" ] || continue
    while read -r _ local _ state _; do
      if [ "$state" = 0A ]; then fact port "$((0x${local##*:}))"; fi
    done < "$table"
  done
else unknown port 'neither ss nor /proc/net/tcp answers'; fi
fact proxy
for name in http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY; do
  eval "setting=\${$name-}"
  [ -z "$setting" ] || fact proxy "$name $setting"
done
if [ -r "$R/etc/environment" ]; then
  while IFS='= ' read -r name setting || [ -n "$name" ]; do
    case $name in export) name=${setting%%=*} setting=${setting#*=};; esac # pam_env passes the word over
    case $name in '#'*) ;; *_proxy|*_PROXY) [ -z "$setting" ] || fact proxy "$name $setting";; esac
  done < "$R/etc/environment"
fi
# what systemd starts its units with has nothing to do with a login's environment
fact service_proxy
service_proxies() { # place, then files: their settings that name a proxy, and those of the files that they name
  place=$1; shift
  for path; do
    [ -f "$path" ] && [ -r "$path" ] || continue
    # a line that ends with a backslash goes on: read joins them
    while read line || [ -n "$line" ]; do
      case $line in
        '#'*|';'*) ;;
        EnvironmentFile=*)
          named=${line#*=}; named=$R${named#-}
          [ ! -f "$named" ] || [ ! -r "$named" ] || while read -r line || [ -n "$line" ]; do
            case $line in '#'*|';'*) ;; *_[Pp][Rr][Oo][Xx][Yy]=*) fact service_proxy "$place $line";; esac
          done < "$named";;
        *_[Pp][Rr][Oo][Xx][Yy]=*) fact service_proxy "$place $line";;
      esac
    done < "$path"
  done
}
service_proxies /etc/systemd/system.conf "$R/etc/systemd/system.conf" "$R"/etc/systemd/system.conf.d/*.conf
for unit in containerd kubelet crio; do
  set --
  for at in /usr/lib /lib /run /etc; do
    set -- "$@" "$R$at/systemd/system/$unit.service" "$R$at/systemd/system/service.d"/*.conf "$R$at/systemd/system/$unit.service.d"/*.conf
  done
  service_proxies "$unit.service" "$@"
done

# what runs on it, and what an earlier cluster left
fact other_runtime
inside() { # a folder: how many others are in it
  if [ -z "$1" ]; then echo '?'
  elif [ ! -e "$R$1" ]; then echo 0
  elif ! ls "$R$1" >/dev/null 2>&1; then echo '?'
  else
    count=0
    for each in "$R$1"/*/; do [ ! -d "$each" ] || count=$((count + 1)); done
    echo $count
  fi
}
runtime() { # name, program, socket, folder with one for each of its containers: the first one's is kubelet's
  if have "$2"; then version=$(within 5 "$2" --version 2>/dev/null | { read -r _ _ version _; echo "${version%,}"; })
  elif [ -S "$R$3" ]; then version=
  else return; fi
  if [ -z "$kubelets" ]; then kubelets="$1 $version"; else fact other_runtime "$(inside "$4") ${version:--} $1"; fi
}
kubelets=
runtime containerd containerd /run/containerd/containerd.sock ''
runtime docker dockerd /run/docker.sock /var/lib/docker/containers
runtime cri-o crio /run/crio/crio.sock /var/lib/containers/storage/overlay-containers
fact runtime "$kubelets"
cri_off() { # whether a configuration of containerd leaves the plugin out, which stands before its first table
  list=
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%%#*}
    case $list$line in
      listed*) ;;
      *disabled_plugins*=*) list=listed line=${line#*=};;
      *=*) continue;;
      *'['*) return 1;;
      *) continue;;
    esac
    case $line in
      *[\"\']cri[\"\']*|*[\"\']io.containerd.grpc.v1.cri[\"\']*|*[\"\']io.containerd.cri.v1.*) return 0;;
    esac
    case $line in *']'*) list=;; esac
  done
  return 1
}
config=/etc/containerd/config.toml
case $kubelets in
  containerd*)
    if found=$(within 5 containerd config dump 2>/dev/null); then :; else found=; fi
    case $found in
      *disabled_plugins*) off=$(printf '%s\n' "$found" | if cri_off; then echo yes; else echo no; fi);;
      *)
        if [ -d "$R${config%/*}" ] && [ ! -x "$R${config%/*}" ]; then off=
        elif [ ! -e "$R$config" ]; then off=no
        elif [ ! -r "$R$config" ]; then off=
        elif cri_off < "$R$config"; then off=yes
        else off=no; fi;;
    esac
    if [ -n "$off" ]; then fact cri_disabled $off; else unknown cri_disabled "$config cannot be read without more rights"; fi;;
  *) fact cri_disabled no;;
esac
kubelets=${kubelets:-none}
runtime podman podman /run/podman/podman.sock /var/lib/containers/storage/overlay-containers
for name in k3s rke2 k0s; do runtime $name $name '' ''; done
for name in docker microk8s k8s kubelet; do
  if [ -e "$R/snap/$name" ] || [ -e "$R/var/lib/snapd/snap/$name" ]; then fact other_runtime "? - snap $name"; fi
done
if ! have kubelet; then fact kubelet_version
elif found=$(within 5 kubelet --version 2>/dev/null) && [ -n "$found" ]; then fact kubelet_version "${found##* }"
else unknown kubelet_version 'kubelet --version fails'; fi
if have systemctl; then
  case $(within 5 systemctl is-active kubelet 2>/dev/null) in
    active|activating|reloading) fact kubelet_running yes;;
    inactive|failed|deactivating|unknown) fact kubelet_running no;;
    *) unknown kubelet_running 'systemctl does not tell';;
  esac
else unknown kubelet_running 'no systemctl'; fi
fact leftover
for path in /etc/kubernetes /var/lib/kubelet /etc/cni; do
  if [ -d "$R$path" ] && [ ! -x "$R$path" ]; then unknown leftover "$path cannot be looked into without more rights"; fi
done
for path in /etc/kubernetes/kubelet.conf /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki /etc/kubernetes/manifests \
  /var/lib/kubelet/config.yaml /var/lib/kubelet/pki /etc/cni/net.d /etc/kubernetes/yurthub /var/lib/yurthub; do
  if [ -d "$R$path" ]; then
    if ! found=$(ls -A "$R$path" 2>/dev/null); then unknown leftover "$path cannot be looked into without more rights"
    elif [ -n "$found" ]; then fact leftover "$path"; fi
  elif [ -e "$R$path" ]; then fact leftover "$path"; fi
done
if [ -r "$R/proc/mounts" ]; then
  fact kubelet_mount
  while read -r _ mount _; do
    case $mount in /var/lib/kubelet/*) fact kubelet_mount "$mount";; esac
  done < "$R/proc/mounts"
else unknown kubelet_mount 'there is no /proc/mounts'; fi

# the way to the API server, its certificate verified with the cluster's own authority
if [ -z "${API_URL-}" ]; then unknown api 'not asked'
elif ! have curl; then unknown api 'no curl'
elif ! ca=$(mktemp 2>/dev/null) || ! printf '%s\n' "${API_CA-}" > "$ca"; then unknown api 'no room in /tmp for the authority to verify with'
else
  trap 'rm -f "$ca"' EXIT
  set -- "$API_URL/version"
  [ -z "${API_AT-}" ] || set -- --connect-to "::$API_AT" -H "Host: $API_AT" "$@"
  words=$(within 12 curl -sS -o /dev/null --noproxy '*' --max-time 10 ${API_CA:+--cacert "$ca"} "$@" 2>&1)
  status=$?
  words=${words%%"
"*}
  if [ $status -eq 0 ]; then fact api
  elif [ $status -eq 2 ] && [ -n "${API_AT-}" ]; then unknown api 'this curl is too old to ask for another name than the address'
  else fact api "${words:-curl exit status $status}"; fi
fi
echo 'poolkeeper-facts end'
