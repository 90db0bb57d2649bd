# Every target sets up what it needs: Python 3.11 and make are enough.
PYTHON ?= python3.11
VENV ?= .venv
DEMO := build/demo
BIN := $(abspath $(VENV))/bin
# A process for each core, though no more than memory is sure to hold (about 2 GB each).
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal
READY := $(VENV)/.tlkit-installed

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help setup demo demo-text demo-detect demo-adapt test test-slow test-all test-gpu check docs release-check clean
help: ## Show what there is to make
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## Make .venv with tlkit and everything to work on it

$(READY): pyproject.toml
	@echo "Setting up $(VENV): some minutes, most of them for TensorFlow ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(READY) ## Make an image classifier, train it, and compare it with the same network without pretraining
	rm -rf $(DEMO)
	$(BIN)/tlkit new image-classifier $(DEMO)/textures --defaults
	cd $(DEMO)/textures && $(BIN)/python -m textures.train
	cd $(DEMO)/textures && $(BIN)/python -m textures.train --weights random
	cd $(DEMO)/textures && $(BIN)/python -m textures.evaluate runs/*
	@echo "Pictures of each: $(DEMO)/textures/runs/*/{learning_curves,confusion_matrix,most_wrong}.png"

demo-text: $(READY) ## The same with short messages of six intents
	rm -rf $(DEMO)-text
	$(BIN)/tlkit new text-classifier $(DEMO)-text/messages --defaults
	cd $(DEMO)-text/messages && $(BIN)/python -m messages.train
	cd $(DEMO)-text/messages && $(BIN)/python -m messages.train --weights random
	cd $(DEMO)-text/messages && $(BIN)/python -m messages.evaluate runs/*
	@echo "Most wrong messages, word by word: $(DEMO)-text/messages/runs/*/most_wrong.html"

demo-detect: $(READY) ## Make a detector of digits in scenes, beside the same network without pretraining
	rm -rf $(DEMO)-detect
	$(BIN)/tlkit new detection-head $(DEMO)-detect/scenes --defaults
	cd $(DEMO)-detect/scenes && $(BIN)/python -m scenes.train
	cd $(DEMO)-detect/scenes && $(BIN)/python -m scenes.train --weights random
	cd $(DEMO)-detect/scenes && $(BIN)/python -m scenes.evaluate runs/*
	@echo "Pictures of each: $(DEMO)-detect/scenes/runs/*/{precision_recall,examples,worst}.png"

demo-adapt: $(READY) ## Learn handwritten digits without labels from printed ones with labels, five times
	rm -rf $(DEMO)-adapt
	$(BIN)/tlkit new image-classifier $(DEMO)-adapt/digits --set adaptation=dann --defaults
	cd $(DEMO)-adapt/digits && $(BIN)/python -m digits.compare --seeds 5
	@echo "Picture: $(DEMO)-adapt/digits/comparison/adaptation.png"

test: $(READY) ## Run the tests that are not slow (under 10 minutes on two cores)
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(READY) ## Run the slow tests
	$(PYTEST) -m "slow and not gpu"

test-all: $(READY) ## Run every test that needs no graphics card (under 45 minutes)
	$(PYTEST) -m "not gpu"

test-gpu: $(READY) ## Run the tests for a graphics card
	TLKIT_TEST_GPU=1 $(BIN)/python -m pytest -m gpu

check: $(READY) ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY) ## Build the documentation as a site in build/docs; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

release-check: $(READY) ## Build the wheel, and try it in an empty environment (downloads its dependencies)
	$(BIN)/python tools/release_check.py

clean: ## Remove what the other targets made, .venv included
	rm -rf build dist $(VENV)
