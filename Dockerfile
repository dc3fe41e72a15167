# The operator's image. The base is an argument: any image with Python 3.11 or newer and its venv module serves; name it
# by digest to pin it. RUNTIME_IMAGE may be another one with the same Python at the same path, without pip, a shell and the like. Everything pip installs is locked with hashes. All is compiled at the end, in one process with a fixed
# hash seed, into files that carry the hash of their source in place of its time: the same input gives the same files, and
# builders that set the times in layers give the same image: `buildah bud --timestamp 0`,
# `docker buildx build --output type=image,rewrite-timestamp=true`.
# Of the Kubernetes client the generated classes for each kind and each group are left out, two thirds of everything: they are
# loaded on demand, and the operator, which speaks to the API server in documents, never does.
# Kubernetes probes it: /healthz and /readyz on port 8080.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=${BASE_IMAGE}

FROM ${BASE_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
COPY requirements/ /src/requirements/
RUN python3 -m venv /opt/spark-allocation \
 && /opt/spark-allocation/bin/pip install --no-cache-dir --no-compile --require-hashes -r /src/requirements/runtime.txt \
 && python3 -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/build.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY operator/ /src/operator/
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src \
 && /opt/spark-allocation/bin/pip install --no-cache-dir --no-compile --no-deps /wheels/*.whl \
 && /opt/spark-allocation/bin/python -m pip uninstall --yes pip setuptools \
 && /opt/spark-allocation/bin/python /src/requirements/bill_of_materials.py /opt/spark-allocation/share/bill-of-materials.cdx.json \
 && find /opt/spark-allocation/lib -path '*/kubernetes/*client/*' \( -path '*/api/*' -o -path '*/models/*' \) \
      -type f ! -name __init__.py -delete \
 && find /opt/spark-allocation -name __pycache__ -type d -exec rm -r {} + \
 && PYTHONHASHSEED=0 /opt/spark-allocation/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/spark-allocation/lib

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="spark-allocation-operator" \
      org.opencontainers.image.description="Runs Spark's dynamic resource allocation outside the driver" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/spark-allocation /opt/spark-allocation
ENV PATH=/opt/spark-allocation/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["spark-allocation"]
