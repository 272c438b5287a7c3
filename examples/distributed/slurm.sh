#!/bin/sh
# Submits the same work to Slurm: an array of jobs for each level, one behind the other.
#
#     sh slurm.sh PARTS quantize MODEL --calib DATA -o OUT --weights int4 --checkpoints DIR ..
#
# The folder of checkpoints has to be on a file system that all nodes see.
set -eu
parts=$1
shift

# The first part of the first level says how many there are. It need not run again.
levels=$(marquetry --quiet "$@" --json --shard "1/$parts" | sed -n 's/.*"levels": *\([0-9]*\).*/\1/p')
quoted=
for word; do
  quoted="$quoted '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"
done
behind=
for level in $(seq "$levels"); do
  job=$(sbatch --parsable --array="1-$parts" --job-name="level-$level" ${behind:+--dependency=afterok:$behind} \
    --wrap "marquetry --quiet$quoted --shard \$SLURM_ARRAY_TASK_ID/$parts")
  behind=$job
done
# The last level's parts are there, and whoever comes next decides it.
sbatch --dependency="afterok:$behind" --job-name=quantize \
  --wrap "marquetry --quiet$quoted --shard 1/$parts && marquetry$quoted"
