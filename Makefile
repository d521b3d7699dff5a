# Thin aliases; what they do is written in scripts/.

.PHONY: help setup run test bench lint clean-run

help:
	@echo 'make run        start cloud and edge on this machine with a demo video, and show events'
	@echo 'make test       every check and test'
	@echo 'make bench      measure what has a promised speed'
	@echo 'make lint       format, clippy, dependencies, shell scripts'
	@echo 'make setup      install and fetch what the above need'
	@echo 'make clean-run  forget what make run keeps between runs: tenant, edge, events'

setup:
	@scripts/setup test
	@scripts/fetch
	@scripts/fetch-deepstream
	@scripts/fetch-vm
	@scripts/fetch-tools

run test bench lint:
	@scripts/$@

clean-run:
	@rm -rf .run && echo 'make run starts afresh next time'
