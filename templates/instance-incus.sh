#!/bin/sh
# The acts on an instance of Incus, behind instance-record.sh: they run in it, as root. PROJECT, COMPONENT and PROGRAM_USER
# say whose it is, CREATOR for whom it was made. Its program is a service of its systemd.
#
# Exit codes: 22 systemd does not run, or not yet; 23 the service could not be started, 24 what was sent did not arrive
# whole, 25 the artifact could not be unpacked.
# shellcheck disable=SC2154 # variables of the first part
needed='awk chmod chown find flock sed sha256sum sync systemctl tar useradd'
unit=$PROJECT-$COMPONENT.service
migration=$PROJECT-$COMPONENT-migrate.service
creator=$CREATOR
releases=/opt/$PROJECT/$COMPONENT
variables=/etc/$PROJECT/$COMPONENT.env
left_as_failed=/run/systemd/system/$unit.d
# What was unpacked: for each release the SHA-256 of its artifact.
unpacked=$folder/unpacked

# The first process is another program for a moment, which is long on a busy machine. As long as systemd boots, systemctl
# fails, or says that it starts.
await_boot() {
  tries=0
  until [ "$(cat /proc/1/comm)" = systemd ]; do
    [ "$tries" -lt 100 ] || fail 22 none
    tries=$((tries + 1))
    sleep 0.1
  done
  tries=0
  until [ "$(systemctl show -P SystemState 2>/dev/null || :)" != '' ]; do
    [ "$tries" -lt 300 ] || fail 22 late
    tries=$((tries + 1))
    sleep 0.1
  done
  timeout 60 systemctl is-system-running --wait >/dev/null 2>&1 || :
}

property() { # unit name: its value, nothing where there is none
  systemctl show -P "$2" "$1" 2>/dev/null || :
}

is_migrating() {
  [ "$(property "$migration" ActiveState)" = activating ]
}

require_no_migration() {
  ! is_migrating || fail 18 "$migration"
}

release_folder() { # sha SHA-256
  printf '%s/%s' "$releases" "$1"
}

holds() { # sha SHA-256: whether that release is there already
  [ -d "$releases/$1" ] && [ "$(cat "$unpacked/$1" 2>/dev/null)" = "$2" ]
}

# Also while it is being stopped.
is_alive() {
  pid=$(property "$unit" MainPID)
  [ "${pid:-0}" != 0 ]
}

has_ended() {
  case $(property "$unit" ActiveState) in
    inactive | failed) ;;
    *) return 1 ;;
  esac
}

# The record, with what systemd says in its place.
look() {
  if [ -e "$record" ]; then cat "$record"; else printf 'owner=%s\n' "$creator"; fi
  is_alive || pid=
  printf 'pid=%s\nstart_time=%s\n' "$pid" "${pid:+$(start_time_of "$pid")}"
  restarts=$(property "$unit" NRestarts)
  printf 'restarts=%s\n' "${restarts:-0}"
}

# What its claim has kept from running ends in its own time, whoever waits for it.
stop() { # owner
  lock
  require_owner "$1"
  require_inactive
  require_not_started
  end_unit
}

end_unit() {
  [ "$(property "$unit" LoadState)" = loaded ] || return 0
  systemctl disable --quiet "$unit"
  systemctl stop --no-block "$unit"
  exec 9>&-
  until has_ended; do sleep 0.1; done
  lock
  require_not_started
  # It may have left something to be ended.
  systemctl stop "$unit"
  systemctl reset-failed "$unit" 2>/dev/null || :
}

# Ends it by SIGKILL; systemd is told to leave it so before it would start it again.
kill_unit() { # owner
  lock
  require_owner "$1"
  require_inactive
  [ "$(field wanted)" = stopped ] || return 0
  [ "$(property "$unit" LoadState)" = loaded ] || return 0
  systemctl disable --quiet "$unit"
  systemctl kill --signal=KILL "$unit" 2>/dev/null || :
  systemctl stop "$unit"
  systemctl reset-failed "$unit" 2>/dev/null || :
}

# What was pushed gets its name in the release's folder when it is whole, unpacked, and readable for the program alone.
adopt() { # owner sha SHA-256 pushed-file paths bytes
  pushed=$4 partial=$releases/.unpacked-$2-$$
  trap 'rm -rf "$pushed" "$partial"' EXIT
  if ! holds "$2" "$3"; then
    [ "$(sha256sum <"$pushed")" = "$3  -" ] || fail 24 "$pushed"
    ensure_user
    unpack "$pushed" "$partial" "$5" "$6"
  fi
  lock
  require_owner "$1"
  require_inactive
  ! is_alive || fail 17 "$pid"
  if ! holds "$2" "$3"; then
    mkdir -p "$unpacked" && rm -rf "${unpacked:?}/$2" "${releases:?}/$2" && mv -T "$partial" "$releases/$2" &&
      printf '%s' "$3" >"$unpacked/$2.tmp" && sync "$unpacked/$2.tmp" && mv -f "$unpacked/$2.tmp" "$unpacked/$2" &&
      sync "$releases" "$unpacked" || fail 13 "$releases/$2"
  fi
  # What the log held before is another release's.
  update "sha=$2" "sha256=$3" "log_begin=$(date +%s%3N)"
  # What others pushed that were killed.
  rm -f "$folder"/pushed-*
}

# Owners and setuid bits of the archive are not taken over.
unpack() { # file folder paths bytes
  mkdir -p "$2" || fail 13 "$2"
  tar --no-same-owner --no-same-permissions -xf "$1" -C "$2" || fail 25 "$1"
  # What was counted when the archive was looked through: the proof does not rest on what unpacked it.
  paths=$(find "$2" -mindepth 1 -printf x | wc -c)
  bytes=$(find "$2" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }')
  [ "$paths $bytes" = "$3 $4" ] || {
    printf '%s paths with %s bytes are there after unpacking, and %s with %s in it\n' "$paths" "$bytes" "$3" "$4" >&2
    fail 25 "$1"
  }
  chown -Rh "root:$PROGRAM_USER" "$2" && chmod -R u+rwX,g+rX,g-w,o-rwx,ug-s,-t "$2" && sync -f "$2" || fail 13 "$2"
  chmod 755 "/opt/$PROJECT" "$releases" || fail 13 "$releases"
}

# Both colors have the volume of the component's data, for a user who has the same number in each.
ensure_user() {
  home="/var/lib/$PROJECT/$COMPONENT"
  set --
  data_of=$(stat -c %u "$home/data" 2>/dev/null) || data_of=none
  case $data_of in
    none | 0) ;;
    *) set -- --uid "$data_of" ;;
  esac
  id -u "$PROGRAM_USER" >/dev/null 2>&1 ||
    useradd --system "$@" --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$PROGRAM_USER" ||
    id -u "$PROGRAM_USER" >/dev/null || fail 13 /etc/passwd
  [ "$data_of" != none ] || return 0
  # systemd would give it a whole folder, file by file, that is not its own at the top.
  chown "$PROGRAM_USER:$PROGRAM_USER" "$home" || fail 13 "$home"
  [ "$data_of" != 0 ] || { chown "$PROGRAM_USER:$PROGRAM_USER" "$home/data" && chmod 700 "$home/data"; } ||
    fail 13 "$home/data"
}

# What a service wrote is still there when its instance was started anew.
keep_journal() {
  [ -d /var/log/journal ] || { mkdir -p /var/log/journal && journalctl --flush; } || fail 13 /var/log/journal
}

put() { # file mode content: whole before it gets its name
  mkdir -p -m 755 "$(dirname "$1")" && printf '%s' "$3" | cat >"$1.tmp" && chown "root:$PROGRAM_USER" "$1.tmp" &&
    chmod "$2" "$1.tmp" && sync "$1.tmp" && mv -f "$1.tmp" "$1" || fail 13 "$1"
}

# The input names UNIT, and VARIABLES with which its program runs.
install_unit() { # unit
  ensure_user
  keep_journal
  eval "$input"
  put "$variables" 640 "$VARIABLES"
  put "/etc/systemd/system/$1" 644 "$UNIT"
  unset VARIABLES
  ln -sfn "$release" "$releases/current.tmp" && mv -fT "$releases/current.tmp" "$releases/current" || fail 13 "$releases"
  systemctl daemon-reload
}

start() { # owner sha SHA-256 time environment-digest
  read_input
  lock
  require_owner "$1"
  require_release "$2" "$3"
  if is_alive; then
    [ "$(field wanted)" = running ] || fail 17 "$pid"
    # An earlier act may have been ended before it noted whom it had started.
    [ "$(field pid)" != '' ] || note_process
    cat "$record"
    return 0
  fi
  require_inactive
  rm -rf "$left_as_failed"
  install_unit "$unit"
  update wanted=running failed=no proven=no restarts=0 pid= start_time= "started_at=$4" "environment_digest=$5"
  systemctl reset-failed "$unit" 2>/dev/null || :
  systemctl enable --quiet "$unit"
  if ! systemctl start "$unit" >&2 || ! is_alive; then
    systemctl disable --quiet "$unit"
    systemctl stop "$unit"
    fail 23 "$unit"
  fi
  note_process
  cat "$record"
}

note_process() {
  update "pid=$pid" "start_time=$(start_time_of "$pid")"
}

# What failed is left for a look: it runs on, and is not started again.
leave_failed() {
  [ "$(field failed)" = yes ] && [ "$(property "$unit" LoadState)" = loaded ] || return 0
  mkdir -p "$left_as_failed" && printf '[Service]\nRestart=no\n' >"$left_as_failed/failed.conf" || fail 13 "$left_as_failed"
  systemctl disable --quiet "$unit"
  systemctl daemon-reload
  case $(property "$unit" SubState) in
    auto-restart*) systemctl stop "$unit" ;;
  esac
}

# Its unit goes on whoever is killed, and while it runs no second one is started.
migrate() { # owner sha SHA-256 time-limit-in-seconds
  read_input
  waited=0
  lock
  while is_migrating; do
    exec 9>&-
    [ "$waited" -lt "$4" ] || fail 18 "$migration"
    waited=$((waited + 1))
    sleep 1
    lock
  done
  require_owner "$1"
  require_inactive
  require_not_started
  require_release "$2" "$3"
  systemctl stop "$migration" 2>/dev/null || :
  systemctl reset-failed "$migration" 2>/dev/null || :
  install_unit "$migration"
  systemctl start --no-block "$migration"
  exec 9>&-
  trap 'systemctl stop "$migration"; fail 20 TERM' TERM
  # Until its job is begun it is inactive.
  while :; do
    case $(property "$migration" ActiveState) in
      active) break ;;
      failed) migration_failed ;;
    esac
    sleep 0.1
  done
}

migration_failed() {
  case $(property "$migration" Result) in
    timeout) fail 21 timeout ;;
    *) fail 20 "$(property "$migration" ExecMainStatus)" ;;
  esac
}

# The last act before it is deleted: Incus deletes none that runs.
retire() { # owner
  lock
  require_owner "$1"
  require_inactive
  require_no_migration
  ! is_alive || fail 17 "$pid"
  systemctl poweroff
}

await_boot
case $act in
  look) look ;;
  stop) stop "$@" ;;
  kill) kill_unit "$@" ;;
  adopt) adopt "$@" ;;
  start) start "$@" ;;
  migrate) migrate "$@" ;;
  retire) retire "$@" ;;
  mark-failed)
    mark_failed "$@"
    leave_failed
    ;;
  *) common_act "$act" "$@" ;;
esac
