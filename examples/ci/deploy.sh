#!/bin/sh
# deploy.sh ENVIRONMENT SHA [options of `bascule deploy`]: deploys, waits for the end, and writes a job summary.
#
# The request id is that of the CI run: a job that is run again joins the deploy that it asked for before. What this
# exits with is what bascule said (0 in force, 1 failed and served as before, 2 refused, 3 an operator is needed,
# 5 Temporal or the worker is not there); where only the waiting ended (4) it waits on.
set -eu
environment=$1 sha=$2
shift 2
here=$(dirname "$0")
result=$(mktemp)
trap 'rm -f "$result"' EXIT

wait_again() { # for an operation that goes on, while Temporal or the connection to it comes back
  operation=$(node -p 'JSON.parse(fs.readFileSync(process.argv[1], "utf8")).operation ?? ""' "$result")
  [ "$operation" != '' ] || return 4
  bascule follow "$operation" --json >"$result"
}

code=0
bascule deploy "$environment" "$sha" --json --request-id "$GITHUB_REPOSITORY/$GITHUB_RUN_ID/$environment" "$@" >"$result" || code=$?
tries=0
while [ "$code" -eq 4 ] && [ "$tries" -lt 30 ]; do
  tries=$((tries + 1))
  code=0
  wait_again || code=$?
done
node "$here/summary.mjs" "$result" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
exit "$code"
