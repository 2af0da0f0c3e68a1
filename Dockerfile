# The program in a container for a laptop: CPUs, MPI, no GPU.
#
#   docker build -t eqr-bench .                                           # in the checkout
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" eqr-bench run quickstart --out runs/quick
#
# On a terminal, -it shows progress and lets Ctrl-C stop a run; --init is not needed, since the program
# answers the signals itself. The recipe for clusters is jobscripts/container/eqr-bench.def.
FROM rust:1-slim-bookworm AS build
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends make git python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/eqr-bench
COPY . .
# set-up installs what the build needs and downloads libtorch; the bundle is tried before it is copied
RUN make build && make bundle

FROM debian:bookworm-slim
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends openmpi-bin ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/eqr-bench/target/bundle/eqr-bench /opt/eqr-bench
ENV PATH=/opt/eqr-bench/bin:$PATH
# where the run's files go; a user without a home gets one that can be written to
WORKDIR /work
ENV HOME=/tmp
ENTRYPOINT ["eqr-bench"]
CMD ["--help"]
