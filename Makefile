# The source designs' names for the chores. What a chore does is in `cargo xtask` and in compose.yaml, not here.

COMPOSE := docker compose
export TIDEWIRE_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help build test lint release key \
	docker docker-down docker-controller docker-controller-down docker-all docker-all-down docker-mysql

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 26

build: ## the release binary, with every engine
	cargo build --locked --release --package tidewire --all-features

test: ## all tests
	cargo xtask test

lint: ## what is shipped, by the linters that are to be had
	cargo xtask lint-deploy

release: ## archive, bill of materials, licences and checksums, in target/release-files
	cargo xtask release

docker: ## the fleet's agent and worker up
	$(COMPOSE) up --build --detach --wait agent fleet-worker

docker-down: ## and down
	$(COMPOSE) rm --stop --force agent fleet-worker

docker-controller: ## the fleet's controller up, with what it needs
	$(COMPOSE) up --build --detach --wait controller

docker-controller-down: ## and down; what it needs stays
	$(COMPOSE) rm --stop --force controller

docker-all: ## everything up
	$(COMPOSE) up --build --detach --wait

docker-all-down: ## everything down; the data stay
	$(COMPOSE) down

docker-mysql: ## everything up, with MySQL in PostgreSQL's place
	$(COMPOSE) --file compose.yaml --file compose.mysql.yaml up --build --detach --wait

key: ## the operator's key of the containers
	@$(COMPOSE) run --rm --no-deps keys show
