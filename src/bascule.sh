#!/bin/sh
# The command `bascule`: bascule.cjs beside it, by the Node.js of PATH. A worker lives for months: it is started with what
# keeps its memory small, which only the start of a process can say (docs/operations.md, "What a worker needs").
program=$0
[ ! -L "$program" ] || program=$(readlink -f -- "$program")
main=${program%/*}/bascule.cjs
for argument; do
  if [ "$argument" = worker ]; then
    export MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072
    exec node --max-semi-space-size=2 "$main" "$@"
  fi
done
exec node "$main" "$@"
