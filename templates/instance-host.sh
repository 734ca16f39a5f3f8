#!/bin/sh
# One act on an instance that is a process of this machine, run with a clean environment as
# `sh -c TEXT instance-host ACT FOLDER CONFIG ENVIRONMENT COLOR …`. CONFIG is the edge's haproxy.cfg; where that is on
# another host, `=` and the active color, which is empty where there is none; or empty.
#
# Each act takes the lock of the instance, reads its record, looks whether the owner it was given is the one on record
# and whether the edge sends visitors to this color, acts, and lets go; where it is refused it touches nothing. An act
# that was done already does nothing. What comes over stdin is read whole before the lock is taken.
#
# Exit codes: 10 refused by the fence, 11 lock busy, 12 the color is active, 13 could not read or write, 15 the release
# is missing, 17 a process still runs, 18 a migration still runs, 19 a program is not installed, 20 the migration
# failed, 21 the migration took too long.
set -eu
umask 077

act=$1 folder=$2 config=$3 environment=$4 color=$5
shift 5
record=$folder/record
releases=$folder/releases
boot=$(cat /proc/sys/kernel/random/boot_id)

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
  for program in env flock grep sed setsid sync timeout; do
    command -v "$program" >/dev/null || fail 19 "$program"
  done
  (mkdir -p "$folder" && : >>"$folder/lock") || fail 13 "$folder/lock"
  exec 9>>"$folder/lock"
  flock -w 5 9 || fail 11 "$folder/lock"
}

field() { # name: its value on record, nothing where it has none
  [ ! -e "$record" ] || sed -n "s/^$1=//p" "$record" || fail 13 "$record"
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
  [ -e "$record" ] || (: >>"$record") || fail 13 "$record"
  while IFS= read -r line; do
    for pair; do
      [ "${line%%=*}" != "${pair%%=*}" ] || continue 2
    done
    content="$content$line
"
  done <"$record"
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

require_no_migration() {
  (flock -n 8) 8>>"$folder/migration.lock" || fail 18 "$folder/migration.lock"
}

release_folder() { # sha SHA-256
  printf '%s/%s-%.12s' "$releases" "$1" "$2"
}

require_release() { # sha SHA-256: the one on record, and unpacked
  [ "$(field sha)" = "$1" ] && [ "$(field sha256)" = "$2" ] || fail 15 "$1"
  release=$(release_folder "$1" "$2")
  [ -d "$release" ] || fail 15 "$1"
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

is_alive() {
  pid=$(field pid)
  [ "$pid" != '' ] && [ "$(start_time_of "$pid")" = "$(field start_time)" ]
}

is_on_record() { # pid start-time
  [ "$(field pid)" = "$1" ] && [ "$(field start_time)" = "$2" ]
}

claim() { # expected-owner owner component address port
  lock
  held=$(field owner)
  if [ "$held" != "$2" ]; then
    [ "$held" = "$1" ] || fail 10 "$held"
    require_inactive
    require_no_migration
    update "owner=$2" wanted=stopped failed=no proven=no \
      "environment=$environment" "color=$color" "component=$3" "address=$4" "port=$5"
  fi
  cat "$record"
}

stop() { # owner
  lock
  require_owner "$1"
  require_inactive
  [ "$(field wanted)" = stopped ] || update wanted=stopped proven=no
  cat "$record"
}

# The process is the leader of a session of its own. KILL also ends what it left behind in that session.
signal() { # name owner pid start-time wanted
  lock
  require_owner "$2"
  require_inactive
  is_on_record "$3" "$4" && [ "$(field wanted)" = "$5" ] || return 0
  if is_alive; then
    kill -s "$1" -- "-$3" 2>/dev/null || ! is_alive || fail 17 "$3"
  elif [ "$1" = KILL ] && [ "${4%/*}" = "$boot" ]; then
    kill_left_behind "$3"
  fi
}

kill_left_behind() { # session
  for stat in $(grep -lE "\) [A-Z] [0-9]+ [0-9]+ $1 " /proc/[0-9]*/stat 2>/dev/null); do
    # The number may be another session's by now, which has nothing in this instance's folder.
    case $(readlink "${stat%/stat}/cwd" 2>/dev/null) in
      "$(readlink -f "$releases")"/*) kill -s KILL "$(basename "${stat%/stat}")" 2>/dev/null || : ;;
    esac
  done
}

# Takes a serving instance for an operation that is about to replace it: it goes on running, and from here on the edge is
# to lead no new visitor to it.
reserve() { # expected-owner owner
  lock
  held=$(field owner)
  if [ "$held" != "$2" ]; then
    [ "$held" = "$1" ] || fail 10 "$held"
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

adopt() { # owner sha SHA-256 unpacked-folder
  # What is renamed here counts as complete, also after the power failed.
  [ ! -d "$4" ] || sync -f "$4" || fail 13 "$4"
  lock
  require_owner "$1"
  require_inactive
  ! is_alive || fail 17 "$pid"
  release=$(release_folder "$2" "$3")
  if [ ! -d "$release" ]; then
    mkdir -p "$releases" && mv -T "$4" "$release" && sync "$releases" || fail 13 "$release"
  fi
  # What the log held before is another release's.
  log_begin=$(stat -c %s "$folder/log/current.log" 2>/dev/null) || log_begin=0
  update "sha=$2" "sha256=$3" "log_begin=$log_begin"
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
      '') continue ;;
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

start() { # owner sha SHA-256 time environment-digest argv…
  read_input
  lock
  require_owner "$1"
  require_release "$2" "$3"
  if is_alive; then
    [ "$(field wanted)" = running ] || fail 17 "$pid"
    cat "$record"
    return 0
  fi
  require_inactive
  started="wanted=running failed=no proven=no restarts=0 started_at=$4 environment_digest=$5"
  shift 5
  launch "$@"
}

# Brings back a process that ended by itself: the very one that the caller saw dead, in the same release.
restart() { # owner sha SHA-256 time environment-digest pid start-time argv…
  read_input
  lock
  require_owner "$1"
  [ "$(field wanted) $(field failed) $(field proven)" = 'running no yes' ] || fail 10 "$1"
  is_on_record "$6" "$7" && ! is_alive || fail 10 "$1"
  require_release "$2" "$3"
  started="restarts=$(($(field restarts) + 1)) started_at=$4 environment_digest=$5"
  shift 7
  launch "$@"
}

# Answers once the program is on record and runs: until then it holds the end of the pipe that is read here.
launch() { # argv…
  mkdir -p "$folder/log" || fail 13 "$folder/log"
  launched=$(become_program "$@" &)
  [ "$launched" != '' ] || fail 13 "$record"
  cat "$record"
}

# The new process puts itself on record before it becomes the program: whoever kills the act leaves either nothing or a
# process that is known.
become_program() { # argv…
  read -r self </proc/self/stat
  self=${self%% *}
  # shellcheck disable=SC2086 # allow-listed words
  update "pid=$self" "start_time=$(start_time_of "$self")" $started
  # shellcheck disable=SC2046 # one word or none
  set -- "$(command -v setsid)" "$(command -v env)" $(default_signals) -u PWD -u OLDPWD -u SHLVL -u _ -- "$@"
  cd "$release"
  umask 022
  printf 'started\n'
  exec </dev/null >>"$folder/log/current.log" 2>&1 9>&-
  # From here on every name may be a variable of the program's.
  eval "$input"
  exec "$@"
}

# A shell has what it starts in the background ignore SIGINT and SIGQUIT; env gives them back, from coreutils 8.31 on.
default_signals() {
  ! env --default-signal=INT,QUIT true 2>/dev/null || printf '%s' --default-signal=INT,QUIT
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

delete() { # owner
  lock
  require_owner "$1"
  require_inactive
  require_no_migration
  ! is_alive || fail 17 "$pid"
  # The owner stays on record, so that whoever read an earlier one is refused.
  write_record "owner=$1
"
  rm -rf "$releases" "$folder/log" || fail 13 "$releases"
}

# Holds a lock of its own for its whole run, which the migration inherits: a second one waits, whoever was killed.
migrate() { # owner sha SHA-256 time-limit-in-seconds argv…
  read_input
  (mkdir -p "$folder/log" && : >>"$folder/migration.lock") || fail 13 "$folder/migration.lock"
  exec 8>>"$folder/migration.lock"
  flock -w "$4" 8 || fail 18 "$folder/migration.lock"
  lock
  require_owner "$1"
  require_inactive
  require_release "$2" "$3"
  exec 9>&-
  limit=$4
  shift 4
  is_stopped=no
  trap 'is_stopped=yes; kill -s TERM "$migration"' TERM
  become_migration "$@" &
  migration=$!
  code=0
  wait "$migration" || code=$?
  [ "$is_stopped" = no ] || wait "$migration" || code=$?
  case $code in
    0) ;;
    124 | 137) fail 21 "$code" ;;
    *) fail 20 "$code" ;;
  esac
}

become_migration() { # argv…
  trap - TERM
  # shellcheck disable=SC2046 # one word or none
  set -- "$(command -v timeout)" -k 10 "$limit" \
    "$(command -v env)" $(default_signals) -u PWD -u OLDPWD -u SHLVL -u _ -- "$@"
  cd "$release"
  umask 022
  exec </dev/null >>"$folder/log/current.log" 2>&1
  eval "$input"
  exec "$@"
}

case $environment in
  '' | *[!a-z0-9-]*) fail 64 "no environment $environment" ;;
esac
case $act in
  claim) claim "$@" ;;
  reserve) reserve "$@" ;;
  retake) retake "$@" ;;
  admit) admit "$@" ;;
  stop) stop "$@" ;;
  signal) signal "$@" ;;
  adopt) adopt "$@" ;;
  prune) prune "$@" ;;
  start) start "$@" ;;
  restart) restart "$@" ;;
  mark-healthy) mark_healthy "$@" ;;
  disown) disown "$@" ;;
  mark-failed) mark_failed "$@" ;;
  delete) delete "$@" ;;
  migrate) migrate "$@" ;;
  *) fail 64 "no act $act" ;;
esac
