# The service. The image holds the program, the certificates of public authorities, and two empty folders: no shell, no
# package manager, nobody's files but its own. Linux, any architecture that Go knows: docker build --platform.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags='-s -w' -o /pushdoctor ./cmd/collector
RUN mkdir -p /empty/tmp /empty/var/lib/pushdoctor

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /pushdoctor /usr/local/bin/pushdoctor
# The store's folder, and /tmp for the demonstration. A volume that is made for the first time takes over the owner.
COPY --from=build --chown=65532:65532 /empty/ /
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
# store.path is relative by default, and so is in the volume.
WORKDIR /var/lib/pushdoctor
VOLUME /var/lib/pushdoctor
EXPOSE 9877
ENTRYPOINT ["/usr/local/bin/pushdoctor"]
CMD ["serve"]
