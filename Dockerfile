# The worker and the `bascule` command, with HAProxy beside them: what manages an edge of driver `local`, as
# /project/bascule.yaml (examples/local.yaml) has it. For an edge elsewhere HAProxy is not needed here.
FROM node:22.21.1-bookworm-slim AS build
WORKDIR /opt/bascule
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY script/build.mjs script/code-cache.cjs script/
COPY src src
RUN npm run --silent build
RUN npm prune --omit=dev --no-audit --no-fund

FROM node:22.21.1-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates haproxy libcap2-bin \
 # For ports below 1024, without root: HAProxy alone may listen there.
 && setcap cap_net_bind_service=+ep /usr/sbin/haproxy \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/bascule
COPY package.json LICENSE README.md ./
COPY --from=build /opt/bascule/node_modules node_modules
COPY --from=build /opt/bascule/dist dist
COPY templates templates
COPY examples examples
COPY docker/demo-project.sh docker/
RUN mkdir bin && ln -s ../dist/bascule bin/bascule
RUN docker/demo-project.sh /project
RUN chown -R node:node /project
ENV PATH=/opt/bascule/bin:$PATH NODE_ENV=production
USER node
WORKDIR /project
ENTRYPOINT ["bascule"]
CMD ["worker", "--metrics", "127.0.0.1:9464"]
