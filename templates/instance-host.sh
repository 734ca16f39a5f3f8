#!/bin/sh
# The acts on an instance that is a process of this machine, behind instance-record.sh.
# shellcheck disable=SC2154 # variables of the first part
needed='env flock grep sed setpriv setsid sync timeout'

require_no_migration() {
  (flock -n 8) 8>>"$folder/migration.lock" || fail 18 "$folder/migration.lock"
}

release_folder() { # sha SHA-256
  printf '%s/%s-%.12s' "$releases" "$1" "$2"
}

is_alive() {
  pid=$(field pid)
  [ "$pid" != '' ] && [ "$(start_time_of "$pid")" = "$(field start_time)" ]
}

# From here on it is kept from running; to end what runs is the caller's part.
want_stopped() { # owner
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
    # Not all of a session need be of its leader's group.
    [ "$1" != KILL ] || kill_left_behind "$3"
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
  # What the release before has left there.
  rm -rf "$folder/tmp" || fail 13 "$folder/tmp"
  started="wanted=running failed=no proven=no restarts=0 started_at=$4 environment_digest=$5"
  shift 5
  launch "$@"
}

# What a process that ended by itself left behind may hold its address, and would be nobody's once another one is on record.
sweep() { # owner pid start-time
  lock
  require_owner "$1"
  is_on_record "$2" "$3" && ! is_alive || fail 10 "$1"
  [ "${3%/*}" != "$boot" ] || kill_left_behind "$2"
}

# Brings back a process that ended by itself: the very one that the caller saw dead, in the same release.
restart() { # owner sha SHA-256 time environment-digest pid start-time argv…
  read_input
  lock
  require_owner "$1"
  [ "$(field wanted) $(field failed) $(field proven)" = 'running no yes' ] || fail 10 "$1"
  is_on_record "$6" "$7" && ! is_alive || fail 10 "$1"
  require_release "$2" "$3"
  # What the machine's end has ended did not end by itself.
  restarts=$(field restarts)
  [ "${7%/*}" != "$boot" ] || restarts=$((restarts + 1))
  started="restarts=$restarts started_at=$4 environment_digest=$5"
  shift 7
  launch "$@"
}

# Answers once the program is on record and runs: until then it holds the end of the pipe that is read here.
launch() { # argv…
  mkdir -p "$folder/log" || fail 13 "$folder/log"
  make_temporary
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
  # shellcheck disable=SC2046 # words
  set -- "$(command -v setsid)" "$(command -v setpriv)" $(no_privileges) \
    "$(command -v env)" $(default_signals) -u PWD -u OLDPWD -u SHLVL -u _ -- "$@"
  cd "$release"
  printf 'started\n'
  exec </dev/null >>"$folder/log/current.log" 2>&1 9>&-
  umask 022
  # From here on every name may be a variable of the program's.
  eval "$input"
  exec "$@"
}

# A shell has what it starts in the background ignore SIGINT and SIGQUIT; env gives them back, from coreutils 8.31 on.
default_signals() {
  ! env --default-signal=INT,QUIT true 2>/dev/null || printf '%s' --default-signal=INT,QUIT
}

# A program gets no capability of the worker's, such as the one for low ports, and none by a file that it runs. The last
# one takes a capability itself, which root may lack in a container.
no_privileges() {
  printf '%s' '--inh-caps=-all --ambient-caps=-all --no-new-privs'
  ! setpriv --bounding-set=-all true 2>/dev/null || printf ' %s' --bounding-set=-all
}

# The instance's own folder for temporary files, TMPDIR: nobody else's program sees into it.
make_temporary() {
  mkdir -p "$folder/tmp" || fail 13 "$folder/tmp"
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
  rm -rf "$releases" "$folder/log" "$folder/tmp" || fail 13 "$releases"
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
  require_not_started
  require_release "$2" "$3"
  make_temporary
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
  # shellcheck disable=SC2046 # words
  set -- "$(command -v timeout)" -k 10 "$limit" "$(command -v setpriv)" $(no_privileges) \
    "$(command -v env)" $(default_signals) -u PWD -u OLDPWD -u SHLVL -u _ -- "$@"
  cd "$release"
  exec </dev/null >>"$folder/log/current.log" 2>&1
  umask 022
  eval "$input"
  exec "$@"
}

case $act in
  stop) want_stopped "$@" ;;
  signal) signal "$@" ;;
  adopt) adopt "$@" ;;
  start) start "$@" ;;
  sweep) sweep "$@" ;;
  restart) restart "$@" ;;
  delete) delete "$@" ;;
  migrate) migrate "$@" ;;
  *) common_act "$act" "$@" ;;
esac
