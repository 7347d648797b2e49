# One image for all roles. docker-compose.yml selects the role of a container.
# Needs BuildKit, which Docker uses by default since version 23.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY schema schema
COPY shared shared
COPY services services
# The definitions of the streams and the migrations are compiled into the binary.
COPY nats nats
COPY migrations migrations
# cargo needs all members of the workspace, although it does not build these.
COPY integration-tests integration-tests
COPY bench/siege bench/siege
# Without debug information the binary has 40 MB instead of 190 MB. Backtraces keep function names but not line numbers.
ENV CARGO_PROFILE_RELEASE_DEBUG=false
# The target folder is kept between builds, and cargo compares modification times. The sources of another checkout can be
# older than the last build. Without touch, cargo would not rebuild them.
RUN --mount=type=cache,id=waybill-cargo,target=/usr/local/cargo/registry \
    --mount=type=cache,id=waybill-target,target=/src/target,sharing=locked \
    find schema shared services nats migrations -type f -exec touch {} + \
    && cargo build --release --locked --package waybill \
    && cp target/release/waybill /usr/local/bin/waybill

# Must be the same Debian release as above, so that the binary finds its version of glibc.
FROM debian:trixie-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/waybill /usr/local/bin/waybill
COPY LICENSE NOTICE /usr/share/doc/waybill/
# A numeric user lets Kubernetes verify that it is not root. The user needs no files or folders.
USER 10001:10001
ENTRYPOINT ["waybill"]
