#!/bin/sh
# What all acts on an instance have in common: its record, and who may act. Behind it comes the text of the instance's
# kind (instance-host.sh, instance-incus.sh), and together they are run with a clean environment as
# `sh -c TEXT instance-host ACT FOLDER CONFIG ENVIRONMENT COLOR …`. CONFIG is the edge's haproxy.cfg; where that is on
# another host, `=` and the active color, which is empty where there is none; or empty.
#
# Each act takes the lock of the instance, reads its record, looks whether the owner it was given is the one on record
# and whether the edge sends visitors to this color, acts, and lets go; where it is refused it touches nothing. An act
# that was done already does nothing. What comes over stdin is read whole before the lock is taken.
#
# Exit codes: 10 refused by the fence, 11 lock busy, 12 the color is active, 13 could not read or write, 15 the release
# is missing, 17 a process still runs, 18 a migration still runs, 19 a program is not installed, 20 the migration
# failed, 21 the migration took too long, 64 no such act; 22 and more belong to a kind.
set -eu
umask 077

act=$1 folder=$2 config=$3 environment=$4 color=$5
shift 5
record=$folder/record
releases=$folder/releases
boot=$(cat /proc/sys/kernel/random/boot_id)
# Who has an instance that has no record yet.
creator=

fail() { # code text: the text is for the program that ran this act
  printf '%s\n' "$2" >&2
  exit "$1"
}

# Variables as lines of shell. Where the sender was killed meanwhile the last line is missing.
read_input() {
  input=$(cat)
  [ "${input##*
}" = '# end' ] || fail 13 'the input'
}

lock() {
  # shellcheck disable=SC2154 # the other part says which
  for program in $needed; do
    command -v "$program" >/dev/null || fail 19 "$program"
  done
  (mkdir -p "$folder" && : >>"$folder/lock") || fail 13 "$folder/lock"
  exec 9>>"$folder/lock"
  flock -w 5 9 || fail 11 "$folder/lock"
}

field() { # name: its value on record, nothing where it has none
  if [ -e "$record" ]; then
    sed -n "s/^$1=//p" "$record" || fail 13 "$record"
  elif [ "$1" = owner ]; then
    printf '%s' "$creator"
  fi
}

# A shell's own printf says only "I/O error" of a full disk: cat says what it is.
write_record() { # content: the record is whole before it gets its name
  if ! { rm -f "$record.tmp" && printf '%s' "$1" | cat >"$record.tmp" && sync "$record.tmp" &&
    mv -f "$record.tmp" "$record" && sync "$folder"; }; then
    rm -f "$record.tmp" 2>/dev/null || :
    fail 13 "$record"
  fi
}

update() { # name=value…: all other values stay
  content=
  for pair; do
    content="$content$pair
"
  done
  before="owner=$creator"
  [ ! -e "$record" ] || before=$(cat "$record") || fail 13 "$record"
  while IFS= read -r line; do
    for pair; do
      [ "${line%%=*}" != "${pair%%=*}" ] || continue 2
    done
    content="$content$line
"
  done <<RECORD
$before
RECORD
  write_record "$content"
}

require_owner() { # owner
  held=$(field owner)
  [ "$held" = "$1" ] || fail 10 "$held"
}

require_inactive() {
  case $config in
    =*) active=${config#=} ;;
    *)
      [ "$config" != '' ] && [ -e "$config" ] || return 0
      active=$(sed -n "/^# environment name=$environment /{s/.* color=\([a-z]*\).*/\1/p;q;}" "$config") || fail 13 "$config"
      ;;
  esac
  [ "$active" != "$color" ] || fail 12 "$color"
}

require_release() { # sha SHA-256: the one on record, and unpacked
  [ "$(field sha)" = "$1" ] && [ "$(field sha256)" = "$2" ] || fail 15 "$1"
  release=$(release_folder "$1" "$2")
  [ -d "$release" ] || fail 15 "$1"
}

# An act from before the start comes late where the release was started since, also for the same owner.
require_not_started() {
  [ "$(field wanted)" != running ] || fail 17 "$(field pid)"
}

# A pid is given again to other processes, after a reboot to any: only with boot and start time does it name one.
start_time_of() { # pid: nothing where it has ended
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # the fields of proc(5) from the third on
  set -- ${stat##*) }
  case $1 in
    Z | X) ;;
    *) printf '%s/%s' "$boot" "${20}" ;;
  esac
}

is_on_record() { # pid start-time
  [ "$(field pid)" = "$1" ] && [ "$(field start_time)" = "$2" ]
}

# Whether an operation made the instance when it had ended already, by a worker that woke late: the one that asks had seen
# none, and nothing was started in it. One operation of an environment runs at a time, and their numbers grow.
was_made_late() { # expected-owner owner
  [ "$1" = '' ] && [ "$creator" != '' ] && [ "$held" = "$creator" ] && [ "$(field wanted)" != running ] || return 1
  maker=${held%%@*} asker=${2%%@*}
  [ "${maker%/*/*}" = "${asker%/*/*}" ] || return 1
  case ${maker##*/}${asker##*/} in
    *[!0-9]*) return 1 ;;
  esac
  [ "${maker##*/}" -lt "${asker##*/}" ]
}

require_claimable() { # expected-owner owner
  [ "$held" = "$1" ] || [ "$held" = "$2" ] || was_made_late "$1" "$2" || fail 10 "$held"
}

claim() { # expected-owner owner component address port
  lock
  held=$(field owner)
  if [ "$held" != "$2" ] || [ ! -e "$record" ]; then
    require_claimable "$1" "$2"
    require_inactive
    require_no_migration
    update "owner=$2" wanted=stopped failed=no proven=no \
      "environment=$environment" "color=$color" "component=$3" "address=$4" "port=$5"
  fi
  cat "$record"
}

# Takes a serving instance for an operation that is about to replace it: it goes on running, and from here on the edge is
# to lead no new visitor to it.
reserve() { # expected-owner owner
  lock
  held=$(field owner)
  if [ "$held" != "$2" ] || [ ! -e "$record" ]; then
    require_claimable "$1" "$2"
    update "owner=$2" traffic=drained
  fi
  cat "$record"
}

# The same for the take-back, from whichever of the operation's own claims is in force. An instance that it had yet to
# claim changes its owner alone: should the operation's worker wake, it is refused from here on.
retake() { # expected-owner owner claim-of-the-operation…
  lock
  held=$(field owner)
  expected=$1 owner=$2
  shift 2
  for claimed; do
    [ "$held" != "$claimed" ] || update "owner=$owner" traffic=drained
  done
  if [ "$(field owner)" != "$owner" ]; then
    [ "$held" = "$expected" ] || fail 10 "$held"
    update "owner=$owner"
  fi
  cat "$record"
}

# The edge may lead visitors to it again: the process that was found healthy.
admit() { # owner
  lock
  require_owner "$1"
  [ "$(field wanted) $(field proven)" = 'running yes' ] || fail 10 "$1"
  [ "$(field traffic)" != drained ] || update traffic=admitted
  cat "$record"
}

# Keeps the releases that were unpacked last and the one on record; removes the others, and what an interrupted unpacking left.
prune() { # owner how-many-to-keep
  lock
  require_owner "$1"
  require_inactive
  [ -d "$releases" ] || return 0
  current=$(release_folder "$(field sha)" "$(field sha256)")
  # By ctime: a folder gets its name last, and its mtime may come out of the archive.
  names=$(ls -1Atc "$releases") || fail 13 "$releases"
  rank=0
  while IFS= read -r name; do
    case $name in
      '' | current) continue ;;
      .unpacked-*) ;;
      *)
        rank=$((rank + 1))
        [ "$rank" -gt "$2" ] && [ "$releases/$name" != "$current" ] || continue
        ;;
    esac
    rm -rf "$releases/$name" || fail 13 "$releases/$name"
  done <<NAMES
$names
NAMES
}

mark_healthy() { # owner pid start-time
  lock
  require_owner "$1"
  is_on_record "$2" "$3" || fail 10 "$1"
  [ "$(field proven)" = yes ] || update proven=yes
}

# Also takes over an instance that its owner was about to claim: should the owner wake, it is refused from here on.
disown() { # expected-owner owner owner-of-the-take-back [name=value for one that the owner had claimed]
  lock
  held=$(field owner)
  [ "$held" != "$3" ] || return 0
  if [ "$held" = "$2" ]; then
    require_inactive
    update "owner=$3" ${4:+"$4"}
  elif [ "$held" = "$1" ]; then
    require_inactive
    update "owner=$3"
  else
    fail 10 "$held"
  fi
}

mark_failed() { # expected-owner owner owner-of-the-take-back
  disown "$1" "$2" "$3" failed=yes
}

common_act() { # act …
  act=$1
  shift
  case $act in
    claim) claim "$@" ;;
    reserve) reserve "$@" ;;
    retake) retake "$@" ;;
    admit) admit "$@" ;;
    prune) prune "$@" ;;
    mark-healthy) mark_healthy "$@" ;;
    disown) disown "$@" ;;
    mark-failed) mark_failed "$@" ;;
    *) fail 64 "no act $act" ;;
  esac
}

case $environment in
  '' | *[!a-z0-9-]*) fail 64 "no environment $environment" ;;
esac
