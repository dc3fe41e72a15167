#!/bin/sh
# Starts a job in cluster mode whose executors the operator allocates.
#
#   kubectl apply -f examples/spark-namespace.yaml
#   API_SERVER=https://kubernetes.example.com:6443 examples/spark-submit-cluster.sh
#
# Needs spark-submit (Spark 3.5, 4.0 or 4.1) and spark-allocation on the PATH. Who runs it needs the right to create pods,
# services and config maps in the namespace; the driver does not (examples/spark-namespace.yaml).
#
# Expect: a driver pod, a SparkAllocation of its name within a second of its start, executors up to 20 while there are tasks,
# none a minute after the last one, and a driver pod that ends Completed.
set -eu

namespace=${NAMESPACE:-spark-jobs}
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
# --managed: the label that asks for a SparkAllocation; --expected-cores: a driver that starts without executors would
# otherwise plan for two
spark-allocation driver-conf --managed --expected-cores 40 > "$settings"

spark-submit \
  --master "k8s://${API_SERVER:?the address of the API server}" \
  --deploy-mode cluster \
  --name rise-and-fall \
  --properties-file "$settings" \
  --conf "spark.kubernetes.namespace=$namespace" \
  --conf spark.kubernetes.authenticate.driver.serviceAccountName=spark-driver \
  --conf spark.kubernetes.authenticate.executor.serviceAccountName=default \
  --conf "spark.kubernetes.container.image=${IMAGE:-apache/spark:4.1.1-python3}" \
  --conf spark.executor.cores=2 \
  --conf spark.executor.memory=2g \
  --conf spark.kubernetes.driver.annotation.spec.sparkallocation.dev/dynamicAllocation.maxExecutors=20 \
  --conf spark.kubernetes.driver.annotation.spec.sparkallocation.dev/dynamicAllocation.executorIdleTimeout=60s \
  local:///opt/spark/examples/src/main/python/pi.py 2000
