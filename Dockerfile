# syntax=docker/dockerfile:1.7
# The image of every process: `serve` with any roles, and the other commands. docs/deploy.md says how it is used.

ARG RUST=1.95.0
FROM rust:${RUST}-slim-bookworm AS chef
ARG CARGO_CHEF=0.1.78
# make and a C++ compiler are for librdkafka, the C library behind the job bus.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/* \
    && cargo install cargo-chef --locked --version "${CARGO_CHEF}"
WORKDIR /source

# What other people's crates are needed, and nothing else of ours: the layer behind it lasts until that changes.
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /source/recipe.json recipe.json
RUN cargo chef cook --locked --profile dist --package tidewire --all-features --recipe-path recipe.json
COPY . .
# There is no git in here: whoever builds says what is built.
ARG TIDEWIRE_COMMIT=""
RUN TIDEWIRE_COMMIT="${TIDEWIRE_COMMIT}" cargo build --locked --profile dist --package tidewire --all-features \
    && mkdir -p /out/data \
    && cp target/dist/tidewire /out/tidewire \
    && /out/tidewire --version

# glibc, libgcc and the roots of TLS; no shell, no package manager, nobody but `nonroot` (65532).
FROM gcr.io/distroless/cc-debian12:nonroot
ARG TIDEWIRE_VERSION=0.1.0
ARG TIDEWIRE_COMMIT=""
LABEL org.opencontainers.image.title="Tidewire" \
      org.opencontainers.image.description="An event backbone in one binary: an append-only log, live streams, jobs and triggers" \
      org.opencontainers.image.source="https://github.com/tidewire/tidewire" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${TIDEWIRE_VERSION}" \
      org.opencontainers.image.revision="${TIDEWIRE_COMMIT}"
COPY --from=build /out/tidewire /usr/local/bin/tidewire
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
# Without TIDEWIRE_ADMIN_KEY it refuses to start there, and says so: a container that is open is a mistake.
ENV TIDEWIRE_ADDR=0.0.0.0:8080 \
    TIDEWIRE_DATA_DIR=/data \
    TIDEWIRE_LOG_FORMAT=json
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/tidewire", "health"]
ENTRYPOINT ["/usr/local/bin/tidewire"]
CMD ["serve"]
