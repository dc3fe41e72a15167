#!/bin/bash
# preStop hook of executor pods (spark.kubernetes.decommission.script): ask the executor to
# decommission itself and wait until it has ended; the pod's grace period is the limit.
set -u

for directory in /proc/[0-9]*; do
  # The Java process itself, not tini, whose command line holds the same words.
  [[ $(readlink "$directory/exe" 2>/dev/null) == */java ]] || continue
  if tr '\0' ' ' 2>/dev/null <"$directory/cmdline" | grep -q KubernetesExecutorBackend; then
    pid=${directory#/proc/}
    echo "Asking executor process $pid to decommission" >/proc/1/fd/1
    kill -s SIGPWR "$pid"
    tail --pid="$pid" -f /dev/null
    # Time for the last messages to the driver.
    sleep 1
    exit 0
  fi
done
echo "No executor process to decommission" >/proc/1/fd/1
