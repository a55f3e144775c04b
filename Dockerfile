# The image of the agent, or of the gateway: docker build --build-arg PROGRAM=gateway .
# Two stages: Debian with Node.js builds a single-file executable; the image holds that, the libraries that it needs,
# the roots of the web's CAs for https probes, and nothing else: no shell, no package manager, no root.
ARG DEBIAN=debian:trixie-slim

FROM ${DEBIAN} AS build
RUN apt-get update && apt-get install -y --no-install-recommends npm binutils ca-certificates libatomic1 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
ARG PROGRAM=agent
RUN ./scripts/image-root ${PROGRAM} /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/entrypoint"]
