# Debian's own broker and Prometheus under the names and users that docker-compose.yml expects, for
# machines that reach a Debian mirror and no image registry.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE} AS debian
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq

FROM debian AS mosquitto
RUN apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients >/dev/null

FROM debian AS prometheus
RUN apt-get install -y -qq --no-install-recommends prometheus >/dev/null \
    && mkdir -p /prometheus && chown 65534:65534 /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
