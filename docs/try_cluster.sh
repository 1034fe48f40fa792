#!/usr/bin/env bash
# Start a dask scheduler and two workers on this machine, run a command of lrmil on them, and end them:
#   bash docs/try_cluster.sh predict slides --model run/model --out out
set -euo pipefail
(($#)) || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }

folder=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
file=$folder/scheduler.json

dask scheduler --host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0 --scheduler-file "$file" 2>"$folder/scheduler.log" &
pids+=($!)
until [[ -s $file ]]; do
    kill -0 "${pids[0]}" 2>/dev/null || { cat "$folder/scheduler.log" >&2; exit 1; }
    sleep 0.2
done
for worker in 1 2; do
    dask worker --scheduler-file "$file" --nthreads 1 --memory-limit 0 --dashboard-address 127.0.0.1:0 \
        --local-directory "$folder" 2>"$folder/worker-$worker.log" &
    pids+=($!)
done
address=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$file")
echo "Scheduler at $address, with two workers." >&2
lrmil "$@" --scheduler "$address"
