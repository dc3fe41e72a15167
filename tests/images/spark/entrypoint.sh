#!/bin/bash
# Entrypoint of the Spark test image. It honours the arguments and variables with which Spark's
# Kubernetes backend starts pods:
#   executor          an executor for the driver named by SPARK_DRIVER_URL
#   driver ARGS...    spark-submit in client mode, inside the driver pod
#   anything else     run as it stands
set -euo pipefail

# A user id that the image does not know (OpenShift, securityContext) still needs a name for Java.
if ! getent passwd "$(id -u)" >/dev/null && [ -w /etc/passwd ]; then
  echo "${SPARK_USER_NAME:-spark}:x:$(id -u):$(id -g):${SPARK_USER_NAME:-anonymous uid}:$SPARK_HOME:/bin/false" >>/etc/passwd
fi

java_options=()
while IFS= read -r name; do
  java_options+=("${!name}")
done < <(compgen -e SPARK_JAVA_OPT_ | sort -t_ -k4 -n)

classpath="$SPARK_HOME/jars/*"
classpath="${SPARK_CLASSPATH:+$SPARK_CLASSPATH:}$classpath"
classpath="$classpath${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}"
classpath="${HADOOP_CONF_DIR:+$HADOOP_CONF_DIR:}$classpath"
classpath="${SPARK_CONF_DIR:-$SPARK_HOME/conf}:$classpath"
classpath="$classpath:$PWD${SPARK_DIST_CLASSPATH:+:$SPARK_DIST_CLASSPATH}"

case "${1:-}" in
driver)
  shift
  command=("$SPARK_HOME/bin/spark-submit"
    --conf "spark.driver.bindAddress=${SPARK_DRIVER_BIND_ADDRESS:?}"
    --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS"
    --deploy-mode client "$@")
  ;;
executor)
  shift
  command=("${JAVA_HOME:?}/bin/java" "${java_options[@]}"
    "-Xms${SPARK_EXECUTOR_MEMORY:?}" "-Xmx$SPARK_EXECUTOR_MEMORY"
    -cp "$classpath"
    org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend
    --driver-url "${SPARK_DRIVER_URL:?}"
    --executor-id "${SPARK_EXECUTOR_ID:?}"
    --cores "${SPARK_EXECUTOR_CORES:?}"
    --app-id "${SPARK_APPLICATION_ID:?}"
    --hostname "${SPARK_EXECUTOR_POD_IP:?}"
    --resourceProfileId "${SPARK_RESOURCE_PROFILE_ID:-0}"
    --podName "${SPARK_EXECUTOR_POD_NAME:?}")
  ;;
*)
  exec "$@"
  ;;
esac

exec tini -s -- "${command[@]}"
