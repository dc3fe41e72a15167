# The operator's image. The base is an argument: any image with Python 3.11 or newer and its venv
# module serves. Everything pip installs is locked with hashes.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
COPY requirements/ /src/requirements/
RUN python3 -m venv /opt/spark-allocation \
 && /opt/spark-allocation/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/runtime.txt \
 && python3 -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/build.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY operator/ /src/operator/
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src \
 && /opt/spark-allocation/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
 && /opt/spark-allocation/bin/python -m pip uninstall --yes pip setuptools

FROM ${BASE_IMAGE}
COPY --from=build /opt/spark-allocation /opt/spark-allocation
ENV PATH=/opt/spark-allocation/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["spark-allocation"]
