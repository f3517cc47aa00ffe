# One node of a mesh: docker build -t sessionmesh . && docker run --init -e NATS_URL=nats://... sessionmesh
#
# An application of your own is in /srv/app, here or in an image of its own:
#   docker run --init -e NATS_URL=nats://... -v ./my-app:/srv/app:ro sessionmesh app.ts
#
#   FROM sessionmesh
#   COPY package.json package-lock.json ./
#   RUN npm ci
#   COPY . .
#   CMD ["app.ts"]
#
# Its `import "sessionmesh"` finds the package of this image, or the one that its own package.json names, which then brings the command, too.

# The same Node as the "node" package in package.json, which the tests run on.
FROM node:26.10.0-slim AS build
WORKDIR /sessionmesh
COPY package.json package-lock.json .npmrc ./
# No install script is needed for what runs here; the image brings Node itself.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json build.ts ./
COPY proto ./proto
COPY placement ./placement
COPY mesh ./mesh
COPY node ./node
COPY cli ./cli
# The list is made of what is left: with --omit=dev npm would leave out what a development dependency needs as well.
RUN npm run -s build \
  && npm prune --omit=dev --ignore-scripts \
  && npm pkg delete devDependencies \
  && npm sbom --sbom-type=application --sbom-format=cyclonedx > sbom.cdx.json

FROM node:26.10.0-slim
# What npm packages are in it. They have no compiled code, so the image is the same on every architecture that Node's image has.
LABEL org.opencontainers.image.title="sessionmesh" \
  org.opencontainers.image.description="One node of a session mesh" \
  org.opencontainers.image.version="0.1.0" \
  org.opencontainers.image.licenses="Apache-2.0" \
  sessionmesh.sbom="/usr/local/lib/node_modules/sessionmesh/sbom.cdx.json" \
  sessionmesh.sbom.format="CycloneDX JSON"
# The command that the application's own package.json brings comes first: it must be of the same copy as what the application imports.
ENV NODE_ENV=production MESH_PORT=8080 PATH=/srv/app/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY --from=build /sessionmesh/node_modules /usr/local/lib/node_modules/sessionmesh/node_modules
COPY --from=build /sessionmesh/dist /usr/local/lib/node_modules/sessionmesh/dist
COPY --from=build /sessionmesh/sbom.cdx.json /usr/local/lib/node_modules/sessionmesh/
COPY bin /usr/local/lib/node_modules/sessionmesh/bin
COPY package.json LICENSE /usr/local/lib/node_modules/sessionmesh/
COPY examples/hello/app.ts /srv/app/
# As `npm install -g` would link the command; and the package where an application in any folder finds it.
RUN ln -s ../lib/node_modules/sessionmesh/bin/mesh.cjs /usr/local/bin/mesh \
  && mkdir /node_modules \
  && ln -s /usr/local/lib/node_modules/sessionmesh /node_modules/sessionmesh \
  && chown node:node /srv/app
WORKDIR /srv/app
USER node

# The gateway. Links between workers use ports of the system's choice and the admin port stays on loopback: neither is published.
EXPOSE 8080
# SIGTERM drains: MESH_DRAIN_MS must be shorter than the time the orchestrator waits before it kills.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MESH_PORT}/_mesh/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

ENTRYPOINT ["mesh", "node"]
CMD ["app.ts"]
