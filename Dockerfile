# Images with teacherlm for CPUs, TPUs and NVIDIA GPUs: docs/how-to/install.md.
#
#   docker build --target cpu --tag teacherlm:cpu --build-arg COMMIT="$(git rev-parse HEAD)" .
#
# The packages are those of requirements*.txt, as in a clone. `make test-container` runs the
# instructions of this file without a container engine.

FROM debian:trixie-slim AS python
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/*
# Writable for every user, so that `docker run --user "$(id -u):$(id -g)"` works.
RUN useradd --uid 1000 --create-home teacherlm && chmod 1777 /home/teacherlm
ENV PATH=/opt/teacherlm/bin:$PATH \
    HOME=/home/teacherlm \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp/teacherlm

# editdistance, which SeqIO needs, has no wheel for Python 3.13: its compiler stays in this stage.
FROM python AS packages
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv
RUN python3 -m venv /opt/teacherlm
COPY requirements-gcs.txt ./
RUN pip install -r requirements-gcs.txt

FROM packages AS tpu-packages
COPY requirements-tpu.txt ./
RUN pip install -r requirements-tpu.txt

FROM packages AS cuda-packages
COPY requirements-cuda.txt ./
RUN pip install -r requirements-cuda.txt

# The files that installing the wheel adds to /opt/teacherlm.
FROM packages AS program
COPY LICENSE README.md pyproject.toml ./
COPY teacherlm_jax teacherlm_jax
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip install --no-deps --no-index --no-warn-script-location \
    --find-links dist --root /program teacherlm_jax

# All that the images share after the packages. Copied files belong to root.
FROM python AS base
WORKDIR /home/teacherlm
COPY configs configs
ARG COMMIT=unknown
ENV TEACHERLM_COMMIT=$COMMIT
USER teacherlm
ENTRYPOINT ["teacherlm"]

FROM base AS cpu
COPY --from=packages /opt/teacherlm /opt/teacherlm
COPY --from=program /program /

FROM base AS tpu
COPY --from=tpu-packages /opt/teacherlm /opt/teacherlm
COPY --from=program /program /

# The driver comes from the host, through the NVIDIA Container Toolkit.
FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=cuda-packages /opt/teacherlm /opt/teacherlm
COPY --from=program /program /
