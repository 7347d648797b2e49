# One image for every role: docker-compose.yml says which role a container runs.
# Needs BuildKit, which docker has used by default since version 23.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY schema schema
COPY shared shared
COPY services services
# Compiled into the binary: the streams' definitions and the migrations.
COPY nats nats
COPY migrations migrations
# Not built, but a member of the workspace: cargo wants to see it.
COPY integration-tests integration-tests
# 40 MB instead of 190: a backtrace keeps its function names and loses its line numbers.
ENV CARGO_PROFILE_RELEASE_DEBUG=false
# The target folder outlives this build. Cargo goes by modification times there, and those of another
# checkout may be older than its last build: without touch it would take other sources for these.
RUN --mount=type=cache,id=waybill-cargo,target=/usr/local/cargo/registry \
    --mount=type=cache,id=waybill-target,target=/src/target,sharing=locked \
    find schema shared services nats migrations -type f -exec touch {} + \
    && cargo build --release --locked --package waybill \
    && cp target/release/waybill /usr/local/bin/waybill

# The same Debian as above: the binary wants no newer glibc than there is.
FROM debian:trixie-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/waybill /usr/local/bin/waybill
# A number, so that Kubernetes can see that it is not root. It needs no file and no folder of its own.
USER 10001:10001
ENTRYPOINT ["waybill"]
