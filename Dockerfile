# The program in a container; the steps are those of jobscripts/container/steps.sh.
#
#   docker build -t eqr-bench .                              # CPUs, MPI
#   docker build -t eqr-bench-gpu --build-arg GPU=1 .        # with the PyTorch that has CUDA (gigabytes)
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" eqr-bench run quickstart --out runs/quick
#
# On a terminal, -it shows progress and lets Ctrl-C stop a run; --init is not needed, since the program
# answers the signals itself. On clusters, Apptainer makes the same image: jobscripts/container/eqr-bench.def.
FROM rust:1-slim-bookworm AS build
WORKDIR /opt/eqr-bench
COPY . .
RUN jobscripts/container/steps.sh build

FROM debian:bookworm-slim
ARG GPU=0
COPY --from=build /opt/eqr-bench/target/bundle/eqr-bench /opt/eqr-bench
RUN /opt/eqr-bench/jobscripts/container/steps.sh runtime "$GPU"
ENV PATH=/opt/eqr-bench/bin:$PATH
# where the run's files go; a user without a home gets one that can be written to
WORKDIR /work
ENV HOME=/tmp
ENTRYPOINT ["eqr-bench"]
CMD ["--help"]
