# Each target does everything it needs, from nothing: `make app` on a fresh clone opens the page.
# Works with GNU Make 3.81 (macOS) and newer. No make? The README has the same steps for pip.

VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
# All tests run in two processes, file by file; a part of them, which ARGS names, in one. The long
# files come first (see tests/conftest.py), not those with many tests, as pytest-xdist would have it.
PROCESSES = $(if $(ARGS),,--numprocesses 2 --dist loadfile --no-loadscope-reorder)
OTHERS := cnn1 cnn2 cnn3 mlp cnn_dense cnn_bn

# The stamps carry a checksum of the requirements: change those, and the next make installs again.
APP_KEY := $(shell cat requirements.txt | cksum | cut -d ' ' -f 1)
DEV_KEY := $(shell cat requirements.txt requirements-dev.txt | cksum | cut -d ' ' -f 1)
APP_STAMP := $(VENV)/.installed-app-$(APP_KEY)
DEV_STAMP := $(VENV)/.installed-dev-$(DEV_KEY)

# The first Python on the PATH that is new enough; `make app PYTHON=python3.12` tries that first.
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 10))'
FIND_PYTHON = for name in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.10 python; do \
	if "$$name" $(IS_NEW_ENOUGH) 2>/dev/null; then echo "$$name"; break; fi; done

.DEFAULT_GOAL := help
.PHONY: help app train models weights test fuzz lint format bench soak screenshots docs notebook clean

help: ## show this list
	@echo 'make TARGET, where TARGET is one of:'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo 'Options of the commands go into ARGS:  make train ARGS="--epochs 3"'

app: $(APP_STAMP) ## open the page: draw a digit, see it read (stop it with Ctrl-C)
	@echo '==> Starting the page and opening it in the browser. Stop it with Ctrl-C.'
	@$(PY) app.py --open $(ARGS)

train: $(APP_STAMP) ## train a network (fetches MNIST, 11 MB, if it is not in data/)
	@$(PY) train.py $(ARGS)

models: $(APP_STAMP) ## train six of the other networks anew, calibrate them, list all
	@for name in $(OTHERS); do \
	  $(PY) train.py --recipe hands-fast --model $$name --candidate $$name --replace $(ARGS) || exit 1; \
	done
	@$(PY) shelf.py

# Each stage begins where the one before ended; what is shipped is the mean of the last three.
weights: $(APP_STAMP) ## train the shipped network anew and calibrate it (3 hours)
	@set -e; \
	stage() { $(PY) train.py --recipe hands --no-test --replace --name "$$@" $(ARGS); }; \
	bold() { stage "$$@" --epochs 20 --lr 0.002 --strength 0.8 --dropout 0.25; }; \
	mild() { stage "$$@" --epochs 12 --lr 0.0015 --strength 0.5 --untouched 0.25 --dropout 0.25; }; \
	stage stage1; \
	mild stage2 --start stage1; \
	bold stage3 --start stage2_best; \
	$(PY) ensemble.py --average stage1 stage2 stage3 --name stages1to3 --replace; \
	stage stage4 --start stages1to3 --epochs 80 --shards 3 --ema 0.9998 --seed 4; \
	bold stage5 --start stage4_best --seed 7; \
	mild stage6 --start stage5 --seed 8; \
	bold stage7 --start stage6 --seed 9; \
	$(PY) ensemble.py --average stage5 stage6 stage7 --name mnist_cnn_best --replace --test; \
	$(PY) calibrate.py --model best

test: $(DEV_STAMP) ## run all tests
	@echo '==> Running the tests (some minutes)'
	@$(PY) -m pytest $(PROCESSES) $(ARGS)

fuzz: $(DEV_STAMP) ## send the API a thousand good and bad requests for each route
	@FUZZ_EXAMPLES=1000 $(PY) -m pytest tests/test_fuzz.py $(ARGS)

lint: $(DEV_STAMP) ## check style and types
	@echo '==> Checking the style (ruff) and the types (mypy)'
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(DEV_STAMP) ## put the code into the shape that lint wants
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(APP_STAMP) ## measure speed on this machine
	@$(PY) bench.py $(ARGS)

soak: $(DEV_STAMP) ## kill a batch of 100,000 pictures ten times, then bully the service (an hour)
	@$(PY) -m tests.soak $(ARGS)
	@$(PY) -m tests.soak_service

screenshots: $(DEV_STAMP) ## take the README's pictures of the page anew
	@$(PY) screenshots.py $(ARGS)

docs: $(DEV_STAMP) ## build the documentation into outputs/docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict
	@echo '==> Open outputs/docs/index.html'

notebook: $(DEV_STAMP) ## run the walkthrough from top to bottom and keep its outputs
	@$(PY) -c "import nbclient, nbformat; \
	name = 'mnist_walkthrough.ipynb'; book = nbformat.read(name, as_version=4); \
	nbclient.NotebookClient(book, record_timing=False).execute(); nbformat.write(book, name)"

clean: ## delete the environment and what the tools left behind; data, models and results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .gradio
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that was moved, or whose Python is gone or too old, is made anew. Its stamps go
# with it, but make has looked at them by then: so they have to be phony too.
ifneq ($(shell $(PY) $(IS_NEW_ENOUGH) 2>/dev/null && echo good),good)
.PHONY: $(PY) $(APP_STAMP) $(DEV_STAMP)
endif

$(PY):
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
	  echo 'error: no Python 3.10 or newer here (looked for python3, python3.10 to 3.13, python).' >&2; \
	  echo 'Install one from python.org or your package manager, or name it: make app PYTHON=...' >&2; \
	  exit 1; \
	fi; \
	echo "==> Making the environment $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV) || { \
	  rm -rf $(VENV); \
	  echo 'error: could not make it; on Debian and Ubuntu: sudo apt install python3-venv' >&2; \
	  exit 1; \
	}

$(APP_STAMP): | $(PY)
	@echo '==> Installing what the program needs (the first time: some minutes, several GB on Linux;'
	@echo '    the README says how to get the much smaller PyTorch without CUDA)'
	@$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@rm -f $(VENV)/.installed-app-*
	@touch $@

$(DEV_STAMP): | $(APP_STAMP)
	@echo '==> Installing what the tests need'
	@$(PY) -m pip install --disable-pip-version-check -r requirements-dev.txt
	@rm -f $(VENV)/.installed-dev-*
	@touch $@
