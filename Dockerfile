# Rowgate in a container: the binary on a base without a shell, as an unprivileged user.
#
#   docker build -t rowgate .              BuildKit; or: buildah bud --format docker -t rowgate .
#   docker run -p 127.0.0.1:50051:50051 -e DATABASE_URL=postgres://… --read-only rowgate
#
# How to run it, in Kubernetes too: docs/OPERATIONS.md. Name mirrors or digests of the bases as you like;
# both have to be of one Debian release, as the binary is linked to glibc.

# Rust, a C compiler and glibc's headers.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
# glibc, libgcc, certificate authorities, and an account `nonroot`, 65532.
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# What cargo downloads and compiles is kept between builds; the binary is taken out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin rowgate \
    && install -D -m 0755 target/release/rowgate /out/rowgate \
    && mkdir -m 0755 /out/data

FROM ${RUN_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Rowgate" \
      org.opencontainers.image.description="Pooled, deadline-bound SQL over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/rowgate /usr/bin/rowgate
# Here it looks for rowgate.toml, and for a SQLite database named without a directory. With PostgreSQL
# nothing is written, and the root file system may be read-only.
COPY --from=build --chown=65532:65532 /out/data /var/lib/rowgate
WORKDIR /var/lib/rowgate
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
EXPOSE 50051 9464
ENTRYPOINT ["/usr/bin/rowgate"]
# --insecure: without a configuration it knows no callers. Whoever reaches the port may query the databases: publish it to
# those only who may, or configure callers and TLS (docs/SECURITY.md) and run `serve` alone.
CMD ["serve", "--insecure", "--listen", "0.0.0.0:50051", "--ops-listen", "0.0.0.0:9464"]
# SERVING while the databases that health.require names can be reached.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["/usr/bin/rowgate", "health"]
