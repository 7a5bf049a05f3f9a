# p2pd and p2pctl as an image: `make docker-build`, or `docker build -t p2pd .`
#
# Written for the classic builder as well (engine 20.10), so there are no cache mounts: what seldom changes is a layer.

ARG BUILD_IMAGE=rust:1-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
# By this `make demo-clean` finds what the classic builder keeps of this stage.
LABEL p2pd.stage=build
WORKDIR /src

# The dependencies are a layer of their own: it depends on the manifests alone, so a change of the code leaves it. The
# crates of the workspace are empty here. They are cleaned away at the end, because cargo compares times: files of a clone may
# be older than what was built of their empty stand-ins, and would be taken for it.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY proto/Cargo.toml proto/
COPY p2pd/Cargo.toml p2pd/
COPY p2pd/heap/Cargo.toml p2pd/heap/
COPY p2pd/mesh/Cargo.toml p2pd/mesh/
COPY p2pctl/Cargo.toml p2pctl/
COPY tests/Cargo.toml tests/
# Any profile of Cargo.toml. `demo` takes a fraction of the time of `release`, and gives larger and slower programs.
ARG PROFILE=release
RUN mkdir -p proto/src p2pd/src p2pd/heap/src p2pd/mesh/src p2pctl/src tests/kit \
    && echo '//! Empty.' | tee proto/src/lib.rs p2pd/src/lib.rs p2pd/heap/src/lib.rs p2pd/mesh/src/lib.rs p2pctl/src/lib.rs tests/kit/lib.rs \
    && printf '//! Empty.\nfn main() {}\n' | tee proto/build.rs p2pd/src/main.rs p2pctl/src/main.rs \
    && cargo build --locked --profile "$PROFILE" -p p2pd -p p2pctl \
    && cargo clean --locked --profile "$PROFILE" -p p2pd -p p2pctl -p p2p-heap -p p2p-mesh -p p2p-proto

COPY proto proto
COPY p2pd p2pd
COPY p2pctl p2pctl
# Only the two programs stay, so that each change of the code adds little to what the classic builder keeps.
RUN cargo build --locked --profile "$PROFILE" -p p2pd -p p2pctl \
    && install -D -t /out target/*/p2pd target/*/p2pctl \
    && rm -rf target

FROM ${RUNTIME_IMAGE}
# And by this what a later build has replaced.
LABEL p2pd.stage=program
# The network's key can be mounted at /etc/p2pd. A new volume takes owner and mode from here.
RUN install -d -m 0700 -o 10001 -g 10001 /etc/p2pd /run/p2pd /var/lib/p2pd
COPY --from=build /out/ /usr/local/bin/
# Fewer arenas hold less memory that nobody uses; p2pd has few threads.
ENV MALLOC_ARENA_MAX=2 \
    P2P_API_ADDR=unix:/run/p2pd/p2pd.sock \
    P2P_DATA_DIR=/var/lib/p2pd \
    P2P_LISTEN_ADDR=0.0.0.0:8080
USER 10001:10001
VOLUME /var/lib/p2pd
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["p2pctl", "health"]
ENTRYPOINT ["p2pd"]
