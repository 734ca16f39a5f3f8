#!/bin/sh
# demo-project.sh FOLDER: a project to look at there, examples/local.yaml with two releases of examples/app.
set -eu
examples=$(cd "$(dirname "$0")/../examples" && pwd)
mkdir -p "$1"
cp "$examples/local.yaml" "$1/bascule.yaml"
for component in api web; do
  for sha in a1a1a1a1a1 b2b2b2b2b2; do
    folder=$1/artifacts/$component/$sha
    mkdir -p "$folder"
    tar -czf "$folder/$component-$sha.tar.gz" -C "$examples/app" server.mjs
    (cd "$folder" && sha256sum "$component-$sha.tar.gz" >"$component-$sha.tar.gz.sha256")
  done
done
