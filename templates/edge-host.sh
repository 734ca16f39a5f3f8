#!/bin/sh
# One act on the files of an edge, run on its host as `sh -c TEXT edge-host ACT PROJECT CONFIG STATE …`.
#
# Each act takes the lock of the edge, looks whether the claim it was given is the one in force, acts, makes it
# durable and lets go; where the claim is not in force it touches nothing. An act that was done already does nothing.
# Content comes over stdin and is read whole before the lock is taken: a sender that was stopped never holds it.
#
# Exit codes: 10 refused by the fence, 11 lock busy, 12 refused by haproxy, 13 could not write, 14 a state file is a
# symbolic link, 15 a file that the act needs is missing, 16 a file is not the expected one, 17 another project's edge,
# 18 a program is not installed.
#
# sh has no local variables: a function shares no name of one with a function that it calls.
set -eu
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

act=$1 project=$2 config=$3 state=$4
shift 4
generation=$state/generation
applied=$state/applied.json
needs_operator=$state/needs-operator

fail() { # code text: the text is for the program that ran this act
  printf '%s\n' "$2" >&2
  exit "$1"
}

refuse_links() {
  for link; do
    [ ! -L "$link" ] || fail 14 "$link"
  done
}

read_input() {
  input=$(cat && printf .)
  input=${input%.}
}

lock() {
  mkdir -p "${config%/*}" "$state" || fail 13 "$state"
  refuse_links "$config" "$config.lock" "$config.staged" "$generation" "$applied" "$applied.staged" "$needs_operator"
  is_replaced=no
  until hold_lock; do :; done
  installed_project=$(header project "$config")
  case $installed_project in
    '' | "$project") ;;
    *) fail 17 "$installed_project" ;;
  esac
}

# Fails where the file that is held is not the lock any more, and is to be opened again. One that others may read, as an
# earlier version left it, any user may hold for ever: it is replaced.
hold_lock() {
  (: >>"$config.lock") || fail 13 "$config.lock"
  exec 9>>"$config.lock"
  is_held=yes
  flock -w 10 9 || is_held=no
  modes_and_files=$(stat -Lc '%a %d:%i' /proc/self/fd/9 "$config.lock" 2>/dev/null) || {
    command -v stat >/dev/null || fail 18 stat
    return 1
  }
  [ "${modes_and_files%
*}" = "${modes_and_files#*
}" ] || return 1
  case $is_replaced${modes_and_files%% *} in
    yes* | *00) [ "$is_held" = yes ] || fail 11 "$config.lock" ;;
    *)
      is_replaced=yes
      rm -f "$config.lock" || fail 13 "$config.lock"
      return 1
      ;;
  esac
}

# What an earlier version left open to others; what Bascule only found there keeps its mode.
make_private() {
  lock
  [ "$installed_project" != '' ] || return 0
  case $(stat -c %a "$config") in
    *00) return 0 ;;
  esac
  for kept in "$config".[0-9]*; do
    [ "$(header project "$kept")" = '' ] || chmod go= "$kept" || :
  done
  chmod go= "$state" "$state"/* "$config" || :
}

header() { # field file: a field of the file's first header line, nothing where there is none
  [ ! -e "$2" ] || sed -n '/^# bascule project=/{s/.* '"$1"'=\([^ ]*\).*/\1/p;q;}' "$2" || fail 13 "$2"
}

held_claim() {
  [ ! -e "$generation" ] || cat "$generation" || fail 13 "$generation"
}

require_claim() { # number owner
  number=$1
  held=$(held_claim)
  [ "$held" = "$1 $2" ] || fail 10 "$held"
}

digest_of() { # file: its SHA-256, nothing where there is none
  [ -e "$1" ] || return 0
  digest=$(sha256sum <"$1") || fail 13 "$1"
  printf '%s' "${digest%% *}"
}

sync_folder() { # file: makes a rename of it durable
  sync "${1%/*}" || fail 13 "$1"
}

fail_to_write() { # file: a part of it would keep room that the take-back needs
  rm -f "$1.tmp" || :
  fail 13 "$1"
}

# A file is whole before it gets its name, so whoever is killed here leaves the earlier content or the new one.
# A shell's own printf says only "I/O error" of a full disk: cat says what it is.
write_file() { # file content [SHA-256 of the content]
  rm -f "$1.tmp" && printf '%s' "$2" | cat >"$1.tmp" && sync "$1.tmp" || fail_to_write "$1"
  if [ "${3:-}" != '' ] && [ "$(digest_of "$1.tmp")" != "$3" ]; then
    rm -f "$1.tmp"
    fail 16 "$1"
  fi
  mv -f "$1.tmp" "$1" || fail_to_write "$1"
  sync_folder "$1"
}

copy_file() { # from to
  rm -f "$2.tmp" && cp -p "$1" "$2.tmp" && sync "$2.tmp" && mv -f "$2.tmp" "$2" || fail_to_write "$2"
  sync_folder "$2"
}

remove_file() {
  for gone; do
    if [ -e "$gone" ] || [ -L "$gone" ]; then
      rm -f "$gone" || fail 13 "$gone"
      sync_folder "$gone"
    fi
  done
}

# What an act left that was killed, or whose disk became read-only under it: only who holds the lock writes.
remove_half_written() {
  remove_file "$config".*tmp "$state"/*.tmp
}

keep() { # file generation
  [ ! -e "$1" ] || copy_file "$1" "$1.$2"
}

# Leaves the five newest kept ones, and all that was not kept by a change: what Bascule found (number 0), and what others
# put beside it (haproxy.cfg.20261129).
prune() { # file
  for kept in "$1".*; do
    old=${kept##*.}
    case $old in
      0 | *[!0-9]*) ;;
      *) ! is_kept "$1" "$old" || printf '%s\n' "$old" ;;
    esac
  done | sort -rn | tail -n +6 | while read -r old; do
    rm -f "$1.$old" || fail 13 "$1.$old"
  done
}

is_kept() { # file number
  if [ "$1" = "$config" ]; then
    [ "$(header generation "$1.$2")" = "$2" ]
  else
    [ "${#2}" -le "${#number}" ] && [ "$2" -lt "$number" ]
  fi
}

# Claims. The number only grows, also where the file with the claim was lost.
take_claim() { # owner
  last=${held%% *}
  installed=$(header generation "$config")
  [ "${last:-0}" -ge "${installed:-0}" ] || last=$installed
  next="$((${last:-0} + 1)) $1"
  (write_file "$generation" "$next
") || { [ "${2:-}" = in-place ] && overwrite_claim; } || exit 13
  printf '%s\n' "${next%% *}"
}

# A full disk has no room for a new file, and lets one be written over: else a take-back could not claim, and nobody could
# say that the change is undone. One write of one line, no shorter than the one there, is made whole or not at all.
overwrite_claim() {
  [ "$held" != '' ] && [ "${#next}" -ge "${#held}" ] || return 1
  { printf '%s\n' "$next" | cat 1<>"$generation" && sync "$generation"; } 2>/dev/null
}

is_held_by() { # owner
  [ "${held#* }" = "$1" ]
}

claim() { # expected owner
  lock
  held=$(held_claim)
  if is_held_by "$2"; then
    printf '%s\n' "${held%% *}"
  elif [ "$held" = "$1" ]; then
    take_claim "$2"
  else
    fail 10 "$held"
  fi
}

# A take-back also claims where its change never did: from then on the change, should it wake, is refused.
claim_undo() { # expected-by-the-change owner-of-the-change owner
  lock
  held=$(held_claim)
  if is_held_by "$3"; then
    printf '%s\n' "${held%% *}"
  elif is_held_by "$2" || [ "$held" = "$1" ]; then
    take_claim "$3" in-place
  else
    fail 10 "$held"
  fi
}

# Without its folder of certificates HAProxy does not start; an empty one is enough.
stage() { # number owner SHA-256 folder-of-certificates|none
  read_input
  lock
  require_claim "$1" "$2"
  [ "$(header generation "$config")" != "$number" ] || return 0
  command -v haproxy >/dev/null || fail 18 haproxy
  [ "$4" = none ] || [ -d "$4" ] || mkdir -p "$4" || fail 13 "$4"
  write_file "$config.staged" "$input" "$3"
  check_file "$config.staged"
}

# In the environment that HAProxy runs in, and not in that of whoever asks: a variable would have a value here and none there.
check_file() { # file
  run_clean haproxy -c -f "$1" 9>&- || fail 12 "$1"
}

run_clean() { # argv…
  # shellcheck disable=SC2046 # two words or none
  env -i PATH="$PATH" $(unprivileged_user) "$@"
}

stage_applied() { # number owner SHA-256
  read_input
  lock
  require_claim "$1" "$2"
  [ "$(digest_of "$applied")" = "$3" ] || write_file "$applied.staged" "$input" "$3"
}

# Remembers which instance has which address, before the edge sends anything there.
keep_addresses() { # number owner SHA-256 file
  read_input
  lock
  require_claim "$1" "$2"
  mkdir -p "${4%/*}" || fail 13 "$4"
  [ "$(digest_of "$4")" = "$3" ] || write_file "$4" "$input" "$3"
}

unstage() { # number owner
  lock
  require_claim "$1" "$2"
  remove_file "$config.staged" "$applied.staged"
  remove_half_written
}

install_staged() { # number owner SHA-256-of-the-candidate SHA-256-of-applied.json|same
  lock
  require_claim "$1" "$2"
  replaces=
  if [ "$(header generation "$config")" != "$number" ]; then
    require_file "$config.staged" "$3"
    replaces=$(header generation "$config")
    # A file that Bascule did not write is kept as number 0.
    [ -e "$config" ] || remove_file "$config.0"
    keep "$config" "${replaces:-0}"
  fi
  if [ "$4" != same ] && [ "$(digest_of "$applied")" != "$4" ]; then
    require_file "$applied.staged" "$4"
    # Where the configuration is installed already, an earlier try has kept this one.
    [ "$(header generation "$config")" = "$number" ] || keep "$applied" "${replaces:-0}"
  fi
  if [ "$(header generation "$config")" != "$number" ]; then
    mv -f "$config.staged" "$config" || fail 13 "$config"
    sync_folder "$config"
  fi
  if [ "$4" != same ] && [ "$(digest_of "$applied")" != "$4" ]; then
    mv -f "$applied.staged" "$applied" || fail 13 "$applied"
    sync_folder "$applied"
  fi
  remove_file "$config.staged" "$applied.staged"
  remove_half_written
  prune "$config"
  prune "$applied"
}

require_file() { # file SHA-256
  [ -e "$1" ] || fail 15 "$1"
  [ "$(digest_of "$1")" = "$2" ] || fail 16 "$1"
}

# Puts back what was installed before, as content of stdin that carries this claim's generation.
restore() { # number owner SHA-256|none|same kept-generation SHA-256-of-applied.json|none
  read_input
  lock
  require_claim "$1" "$2"
  replaces=$(header generation "$config")
  if [ "$5" != none ] && [ "$(digest_of "$applied")" != "$5" ]; then
    require_file "$applied.$4" "$5"
    copy_file "$applied.$4" "$applied"
  elif [ "$5" = none ]; then
    remove_file "$applied"
  fi
  case $3 in
    same) ;;
    none)
      if [ "$replaces" != '' ]; then
        keep "$config" "$replaces"
        if [ -e "$config.0" ]; then copy_file "$config.0" "$config"; else remove_file "$config"; fi
      fi
      ;;
    *)
      if [ "$replaces" != "$number" ]; then
        keep "$config" "${replaces:-0}"
        write_file "$config" "$input" "$3"
      fi
      ;;
  esac
  remove_file "$config.staged" "$applied.staged"
  remove_half_written
  prune "$config"
}

# Certificates, with their keys. A file whose name begins with a dot is none to HAProxy.

places_of() { # folder name
  installed_pem=$1/$2.pem staged_pem=$1/.$2.pem.staged kept_pem=$1/.$2.pem.kept
  refuse_links "$installed_pem" "$staged_pem" "$kept_pem"
}

put_staged() { # durably, in one step
  mv -f "$staged_pem" "$installed_pem" || fail 13 "$installed_pem"
  sync_folder "$installed_pem"
}

stage_certificate() { # number owner folder name SHA-256
  read_input
  lock
  require_claim "$1" "$2"
  places_of "$3" "$4"
  [ "$(digest_of "$installed_pem")" != "$5" ] || return 0
  [ -d "$3" ] || mkdir -p "$3" || fail 13 "$3"
  write_file "$staged_pem" "$input" "$5"
  printf 'frontend check\n  mode http\n  timeout client 1s\n  bind 127.0.0.1:1 ssl crt %s\n' "$staged_pem" |
    run_clean haproxy -c -f /dev/stdin 9>&- || {
    remove_file "$staged_pem"
    fail 12 "$4"
  }
}

# For one that HAProxy refuses, so no claim is needed: nothing can be loaded while it is there. Another file stays.
set_certificate_aside() { # folder name SHA-256
  lock
  places_of "$1" "$2"
  [ -e "$installed_pem" ] && [ "$(digest_of "$installed_pem")" = "$3" ] || return 0
  mv -f "$installed_pem" "$1/.$2.pem.refused" || fail 13 "$installed_pem"
  sync_folder "$installed_pem"
}

install_certificates() { # number owner folder [name SHA-256]…
  lock
  require_claim "$1" "$2"
  certificates=$3
  shift 3
  while [ "$#" -gt 0 ]; do
    places_of "$certificates" "$1"
    if [ "$(digest_of "$installed_pem")" != "$2" ]; then
      require_file "$staged_pem" "$2"
      if [ -e "$installed_pem" ]; then
        copy_file "$installed_pem" "$kept_pem"
      else
        remove_file "$kept_pem"
      fi
      put_staged
    fi
    remove_file "$staged_pem" "$staged_pem.tmp" "$kept_pem.tmp"
    shift 2
  done
}

restore_certificates() { # number owner folder [name SHA-256|none]…
  lock
  require_claim "$1" "$2"
  certificates=$3
  shift 3
  while [ "$#" -gt 0 ]; do
    places_of "$certificates" "$1"
    if [ "$2" = none ]; then
      remove_file "$installed_pem"
    elif [ "$(digest_of "$installed_pem")" != "$2" ]; then
      require_file "$kept_pem" "$2"
      copy_file "$kept_pem" "$staged_pem"
      put_staged
    fi
    remove_file "$staged_pem" "$staged_pem.tmp" "$kept_pem.tmp"
    shift 2
  done
}

# Prints what the master says, where it is one that answers `reload`: `Success=1` or `Success=0`, `--`, and its startup log.
# Nothing where it is sent SIGHUP, or does not answer in time, or where another worker serves by now than the sender saw:
# then this act comes late, and what was installed is loaded.
reload() { # number owner pid-of-the-master socket-of-a-master-that-answers|none pid-of-the-worker|none its-socket
  lock
  require_claim "$1" "$2"
  if [ "$5" != none ] && info=$(ask "$6" 'show info' 2 2>/dev/null); then
    case $info in
      *"Pid: $5
"*) ;;
      *"Pid: "*) return 0 ;;
    esac
  fi
  if [ "$4" = none ] || ! ask_for_reload "$4"; then
    kill -HUP "$3" || fail 15 "process $3"
  fi
}

# Fails where the master was not asked, or refused (`-S …,level,user`). Whoever asks keeps the lock, also where this shell
# is killed meanwhile, and asks for less time than others wait for it.
ask_for_reload() { # socket
  asked=0
  answer=$(ask "$1" reload 8) || asked=$?
  case $asked:$answer in
    0: | 124:* | *:Success=*) printf '%s\n' "$answer" ;;
    *) return 1 ;;
  esac
}

# Fails, silently, where there is no program to ask with.
ask() { # socket command seconds
  if command -v socat >/dev/null; then
    echo "$2" | timeout "$3" socat -t "$3" - "UNIX-CONNECT:$1"
  elif command -v perl >/dev/null; then
    timeout "$3" perl -MSocket -e '
      socket(ASKED, PF_UNIX, SOCK_STREAM, 0) && connect(ASKED, pack_sockaddr_un(shift)) or die "$!\n";
      syswrite ASKED, shift() . "\n";
      shutdown ASKED, 1;
      print while <ASKED>;
    ' "$1" "$2"
  else
    return 1
  fi
}

# stdin: `= <environment> <color>|none`, then the lines of its history, for each environment.
record() { # number owner
  read_input
  lock
  require_claim "$1" "$2"
  environment=
  history=
  while read -r first second third; do
    case $first in
      =)
        write_environment
        environment=$second
        color=$third
        history=
        ;;
      ?*)
        history="$history$first $second $third
"
        ;;
    esac
  done <<LINES
$input
LINES
  write_environment
}

write_environment() {
  [ "$environment" != '' ] || return 0
  case $environment in
    *[!a-z0-9-]*) fail 16 "$environment" ;;
  esac
  color_file=$state/active-color-$environment
  refuse_links "$color_file" "$color_file.history"
  if [ "$color" = none ]; then remove_file "$color_file"; else write_changed "$color_file" "$color
"; fi
  if [ "$history" = '' ]; then
    remove_file "$color_file.history"
  else
    write_changed "$color_file.history" "$history"
  fi
}

# The releases of an environment without colors. Its own first line says who wrote it, which takes the place of a claim:
# of two who write, the later one is refused unless it names whom it found.
# stdin: the file.
record_releases() { # environment SHA-256 owner expected-owner…
  read_input
  case $1 in
    '' | *[!a-z0-9-]*) fail 16 "$1" ;;
  esac
  releases=$state/releases-$1 digest_wanted=$2 owner=$3
  shift 3
  lock
  refuse_links "$releases"
  held=
  [ ! -e "$releases" ] || held=$(sed -n '1s/^# bascule releases owner=//p' "$releases") || fail 13 "$releases"
  [ "$held" != "$owner" ] || return 0
  for expected; do
    if [ "$held" = "$expected" ]; then
      write_file "$releases" "$input" "$digest_wanted"
      return 0
    fi
  done
  fail 10 "$held"
}

write_changed() { # file content
  if [ -e "$1" ]; then
    content=$(cat "$1" && printf .) || fail 13 "$1"
    [ "$content" != "$2." ] || return 0
  fi
  write_file "$1" "$2"
}

# Needs no claim of its own, since it refuses changes and makes none; but once another change has claimed, which only a
# repair can, what it would say was seen to.
mark_needs_operator() { # expected-by-the-change owner-of-the-change owner-of-the-take-back
  read_input
  lock
  held=$(held_claim)
  # Where the claims were deleted nobody has repaired anything since.
  [ "$held" = '' ] || [ "$held" = "$1" ] || is_held_by "$2" || is_held_by "$3" || fail 10 "$held"
  write_changed "$needs_operator" "$input"
}

clear_needs_operator() { # number owner
  lock
  require_claim "$1" "$2"
  remove_file "$needs_operator"
}

# Starts HAProxy in a session of its own, with nothing of the caller's environment and without the lock. Whoever asks for
# the same meanwhile waits for the lock until this one can be seen: a second HAProxy would share its ports, and answer
# every other visitor by an earlier configuration.
start() { # master-socket
  lock
  [ -e "$config" ] || fail 15 "$config"
  for command_line in $(grep -lzxF -e "$config" /proc/[0-9]*/cmdline 2>/dev/null); do
    command_line=${command_line%/cmdline}
    ! is_haproxy "${command_line#/proc/}" || return 0
  done
  refuse_links "${config%/*}/haproxy.log"
  # shellcheck disable=SC2046 # two words or none
  setsid env -i PATH="$PATH" $(unprivileged_user) haproxy -W -S "$1" -f "$config" \
    >>"${config%/*}/haproxy.log" 2>&1 </dev/null 9>&- &
  while kill -0 $! 2>/dev/null && ! is_haproxy $!; do sleep 0.01; done
}

# Whom the workers run as where root starts HAProxy; nothing where nobody could be changed to, as in a container without
# CAP_SETUID.
unprivileged_user() {
  [ "$(id -u)" = 0 ] || return 0
  for name in haproxy nobody; do
    group=$(id -gn "$name" 2>/dev/null) || continue
    setpriv --reuid "$name" --regid "$group" --clear-groups true 2>/dev/null || continue
    printf '%s' "BASCULE_EDGE_USER=$name BASCULE_EDGE_GROUP=$group"
    return 0
  done
}

# Anybody may name a process so: it counts where it is this user's or root's, and runs that program.
is_haproxy() { # pid
  case $(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
    0 | "$(id -u)") ;;
    *) return 1 ;;
  esac
  [ "$(cat "/proc/$1/comm" 2>/dev/null)" = haproxy ] || return 1
  # Of one with privileges of its own, this user does not see the program.
  program=$(readlink "/proc/$1/exe" 2>/dev/null) || return 0
  case ${program##*/} in
    haproxy*) ;;
    *) return 1 ;;
  esac
}

case $act in
  make-private) make_private ;;
  check) check_file "$config" ;;
  claim) claim "$@" ;;
  claim-undo) claim_undo "$@" ;;
  stage) stage "$@" ;;
  stage-applied) stage_applied "$@" ;;
  keep-addresses) keep_addresses "$@" ;;
  unstage) unstage "$@" ;;
  install) install_staged "$@" ;;
  restore) restore "$@" ;;
  stage-certificate) stage_certificate "$@" ;;
  set-certificate-aside) set_certificate_aside "$@" ;;
  install-certificates) install_certificates "$@" ;;
  restore-certificates) restore_certificates "$@" ;;
  reload) reload "$@" ;;
  record) record "$@" ;;
  record-releases) record_releases "$@" ;;
  mark-needs-operator) mark_needs_operator "$@" ;;
  clear-needs-operator) clear_needs_operator "$@" ;;
  start) start "$@" ;;
  *) fail 64 "no act $act" ;;
esac
