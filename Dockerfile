# syntax=docker/dockerfile:1
# An LTS release on which the service is tested (scripts/check-production.mjs). Pin a digest for reproducible builds:
# docker build --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:…
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=optional --no-fund --no-audit
COPY nest-cli.json tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY packages ./packages
COPY scripts/build-web.mjs ./scripts/
RUN npm run build

# Production dependencies only: no development tools, no embedded PostgreSQL. The compiler comes as a peer of
# @nestjs/swagger and @trpc/server, which want it for builds alone.
FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --no-fund --no-audit \
  && npm ls --all --omit=dev --omit=optional > /dev/null \
  && rm -rf node_modules/typescript node_modules/.bin

FROM ${NODE_IMAGE} AS runtime
# Nothing installs packages here any more, so what could is taken away. DATA_DIR is looked at by the disk probe; nothing
# is written to it in production, so that the root file system may be read-only.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
    /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-* \
  && install -d -o node -g node /app/.data
ENV NODE_ENV=production
WORKDIR /app
COPY package.json ./
COPY config ./config
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# docker build --build-arg REVISION="$(git rev-parse HEAD)": shown by the metric audit_build_info.
ARG REVISION
ENV AUDIT_REVISION=${REVISION}
# A number, so that Kubernetes can see that it is not root (runAsNonRoot): the user `node` of the image.
USER 1000:1000
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node itself is process 1 and handles SIGTERM; npm would not forward it.
CMD ["node", "dist/main.js"]
