# One node of a mesh: docker build -t sessionmesh . && docker run -e NATS_URL=nats://... sessionmesh [app.ts]
# An application of your own: mount or copy its folder to /srv/mesh/app and name app/<file>.ts as the command.

# The same Node as the "node" package in package.json, which the tests run on.
FROM node:26.10.0-slim AS dependencies
WORKDIR /srv/mesh
COPY package.json package-lock.json .npmrc ./
# No install script is needed for what runs here; the image brings Node itself.
RUN npm ci --omit=dev --ignore-scripts

FROM node:26.10.0-slim
ENV NODE_ENV=production MESH_PORT=8080 MESH_LOG=json
WORKDIR /srv/mesh
COPY --from=dependencies /srv/mesh/node_modules ./node_modules
COPY package.json LICENSE ./
COPY proto ./proto
COPY placement ./placement
COPY mesh ./mesh
COPY node ./node
COPY cli ./cli
COPY examples ./examples
USER node

# The gateway. Links between workers use ports of the system's choice and the admin port stays on loopback: neither is published.
EXPOSE 8080
# SIGTERM drains: MESH_DRAIN_MS must be shorter than the time the orchestrator waits before it kills.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MESH_PORT}/_mesh/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

ENTRYPOINT ["node", "cli/mesh.ts", "node"]
CMD ["examples/hello/app.ts"]
