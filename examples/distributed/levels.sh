#!/bin/sh
# Quantizes a model with several processes on this machine, level by level.
#
#     sh levels.sh PARTS quantize MODEL --calib DATA -o OUT --weights int4 --checkpoints DIR ..
#
# Each round, every process looks at its part of the samples for the next level that is not decided. The
# round after a level's last part decides it. Whatever is interrupted goes on with the same command.
set -eu
parts=$1
shift
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
export said parts

while :; do
  if command -v parallel >/dev/null 2>&1; then
    seq "$parts" | parallel -j "$parts" --halt now,fail=1 \
      marquetry --quiet "$@" --json --shard "{}/$parts" '>' "$said/{}"
  else
    seq "$parts" | xargs -P "$parts" -I '{}' \
      sh -c 'marquetry --quiet "$@" --json --shard {}/"$parts" >"$said"/{}' sh "$@"
  fi
  # All parts see the same folder at the end of a round, so that any of them knows.
  grep -q '"decided": *true' "$said/1" && break
done
marquetry "$@"
