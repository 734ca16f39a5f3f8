.DEFAULT_GOAL := help
.PHONY: help setup build lint test test-unit test-incus test-all chaos demo bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing (haproxy, Temporal's CLI, npm packages) and build
	@script/setup

build: ## bundle src/ to dist/
	@npm run --silent build

lint: ## biome and the type checker
	@npx --no-install biome check .
	@npx --no-install tsc --noEmit

test: ## set-up, lint, build and tests, under 8 minutes; the last line says how many passed and failed
	@script/test

test-unit: ## the unit tests alone, in seconds
	@npx --no-install vitest run --project unit

test-incus: ## from an empty daemon of Incus to a deploy under load, a rollback and certificates; needs Debian and root
	@script/test story

test-all: ## all there is, hours: whole matrices, random values, all of Incus, the image; before a release
	@script/test all

chaos: ## break it everywhere, an hour and more (N=200 random runs); the tables of docs/reliability.md
	@CHAOS_RUNS=$(or $(N),200) script/chaos

demo: ## deploys, a worker killed, a bad release and a rollback, under load (KEEP=1 leaves it up)
	@script/demo

bench: ## starts and memory; a switch beside a shell script (needs socat); rendering and status by size; certificates beside dehydrated
	@script/setup
	@command -v socat >/dev/null || { echo 'bench: the shell script needs socat: apt-get install socat'; exit 1; }
	@npx --no-install tsx bench/start.ts
	@npx --no-install tsx bench/main.ts
	@npx --no-install tsx bench/render.ts
	@npx --no-install tsx bench/status.ts
	@npx --no-install tsx bench/certificates.ts

clean: ## remove what was built; .tools and node_modules stay
	@rm -rf dist dist.partial coverage
