# make book      everything, from a fresh machine to the open book
# make test      everything that must hold, from a fresh machine
# make lab       JupyterLab with the notebooks, executed
# make notebooks execute what changed (MODEL=facebook/musicgen-small for another model)
# make bench     measure speed against named baselines
# make organisms make the model organisms from nothing (ten minutes on a large GPU, more than a day on 2 cores)
PYTHON ?= python3
MODEL ?= organism
VENV := .venv
BIN := $(abspath $(VENV))/bin
# a folder is named from where make was called: 'make -C path/to/book notebooks MODEL=./mine' works, too. The shell looks
# for it, since make would take a name with a space for two. There may be another 'lib', which -P leaves alone
BOOK := if test -e "$(PWD)/$(MODEL)"; then cd "$(PWD)"; fi && "$(BIN)/python" -P -m lib.book
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: book test lab notebooks bench organisms clean lock

book: notebooks
	$(BOOK) build --model "$(MODEL)"
	$(BOOK) open --model "$(MODEL)"

test: $(VENV)/ready
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/python" -m pytest

lab: notebooks
	# we made their outputs ourselves: players and figures may run
	cd "$$($(BOOK) where --model "$(MODEL)")" && "$(BIN)/jupyter" trust *.ipynb >/dev/null && "$(BIN)/jupyter" lab index.ipynb

notebooks: $(VENV)/ready
	$(BOOK) run --model "$(MODEL)"

bench: $(VENV)/ready
	for script in benchmarks/*.py; do "$(BIN)/python" "$$script" || exit 1; done

organisms: $(VENV)/ready
	# glibc returns large blocks to the system at once, which costs a training step a third of its time
	MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=17179869184 "$(BIN)/python" -m lib.factory

clean:
	rm -rf _build artifacts notebooks/*.ipynb notebooks/.ipynb_checkpoints

# The lock is complete, so nothing else is resolved: audiocraft's pins of 2023 do not count. PyTorch comes first and with
# its own needs, because these differ between its builds (CPU, CUDA, MPS).
$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x "$(BIN)/python" || $(PYTHON) -m venv $(VENV)
	"$(BIN)/python" -m pip install -q torch==2.13.0
	"$(BIN)/python" -m pip install -q --no-deps -r requirements.txt
	# the checkout's lib is imported as lib from any folder; only a wheel ('pip install .') is called musicgen_emotion
	"$(BIN)/python" -c "import os, pathlib, sysconfig; \
	    pathlib.Path(sysconfig.get_path('purelib'), 'lib.pth').write_text(os.getcwd())"
	# librosa compiles at first use, and processes that do so at once crash each other
	"$(BIN)/python" -W ignore -c "import numpy as np; from lib import acoustics; \
	    acoustics.measure(np.sin(np.arange(64000) / 9) / 9, 16000)"
	touch $@

lock:
	"$(BIN)/python" -m pip install -q uv
	"$(BIN)/uv" pip compile pyproject.toml --extra scale --extra synthesis --group book --group test --universal \
	    --python-version 3.11 --no-annotate --no-header -q --no-emit-package torch \
	    $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
	    | grep -vE "'never'|^(nvidia|cuda|triton|--)" > requirements.txt
