# The archiver with CA certificates, and nothing else: no shell, no package manager, no root.
#
#   docker build -t recording-archiver .
#
# Settings come from the environment, or from a file mounted at /etc/recording-archiver/config.toml.
# Secrets come from the environment, or from files named as the systemd credentials under /run/secrets,
# readable by the user 65532. Give it longer to stop than worker.drain_timeout (60 s): --stop-timeout 90.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN SQLX_OFFLINE=true cargo build --release --locked --bin recording-archiver

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/recording-archiver /usr/bin/recording-archiver
# Loopback would be the container's own.
ENV RECORDING_ARCHIVER_HTTP_LISTEN=0.0.0.0:9464 \
    CREDENTIALS_DIRECTORY=/run/secrets
EXPOSE 9464
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["recording-archiver", "health"]
ENTRYPOINT ["recording-archiver"]
CMD ["run"]
