# make lab    set up (the first time) and open the course        make test   set up and prove that all of it works
# What a caller names (IN, LESSON ...) is read by the shell, as "$$IN", so that blanks and quotes in it are safe; make
# passes it on as it was written, so that a dollar sign stays one. ARGS alone holds several words. uv compiles no byte
# code unless it is told to; without it torch takes twice as long to import, in each kernel.
NAMED := $(foreach name,IN LESSON AFTER REPO SEED SEED_FILE BANK MNIST PROJECT,$(if $(filter-out undefined,$(origin $(name))),$(name)))
$(foreach name,$(NAMED),$(eval export override $(name) := $$(value $(name))))
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_ALL := .venv/installed-all
SLOW := $(patsubst %,tests/test_%.py,cluster colab explorer_browser nbgrader playground report_browser site slides)
export OMP_WAIT_POLICY := passive
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: help env lab explore play test bench hub-test evidence notebooks solutions figures scoreboard site links new order exam grade nbgrader project-data slides progress data lock lint clean test-all

help:
	@echo "make lab        open the course in JupyterLab (ARGS=--no-browser on a machine without a screen)"
	@echo "make explore    open the explorer: your own picture, any network, one or two methods"
	@echo "make play       run networks of the course in the browser, while you draw (ARGS='--port 8080')"
	@echo "make test       run every test and every notebook, offline"
	@echo "make test-all   the same, and what needs a browser or the package registry: the site, the playground, the slides, the explorer, nbgrader, Colab"
	@echo "make bench      time the methods against captum, grad-cam, torchcam, zennit, shap and lime (an hour; ARGS=--quick: one minute)"
	@echo "make hub-test   run the course on a JupyterHub of this machine, for six students (as root; a quarter of an hour)"
	@echo "make env        only set up .venv"
	@echo "make evidence   run each lesson ten times, with its own seeds and with nine others (LESSON=cam: one; ARGS='--scheduler ADDRESS': on a cluster)"
	@echo "make notebooks  run all notebooks again and save them with their pictures"
	@echo "make solutions  make the blank exercises from solutions/"
	@echo "make figures    make the figures of real networks again (fetches SqueezeNet, 5 MB)"
	@echo "make scoreboard score every method on pictures whose truth is known (one and a half hours; ARGS='--count 6': a look; '--workers 2' or '--scheduler ADDRESS': on a cluster)"
	@echo "make site       build the course's pages from the saved notebooks, into build/site/html"
	@echo "make progress   show which exercises of your notebooks are solved (ARGS=--run runs them anew)"
	@echo "make slides     write slides of every lesson, into build/slides (ARGS='cam grad_cam': of these)"
	@echo "make exam       write an exam and its key into build/ (SEED_FILE=file: one that was written before; BANK=file: questions of your own)"
	@echo "make grade      grade a folder of notebooks (IN='my class'; ARGS='--exam FILE' for an exam, whose seed FILE holds)"
	@echo "make nbgrader   write the exercises as nbgrader takes them, into build/"
	@echo "make project-data  draw the data of a student project, into build/projects (PROJECT=handover, weather or choice; SEED=7: other pictures)"
	@echo "make links      make every copy of the course's address the same (REPO=owner/name: another one, for a fork)"
	@echo "make new        begin a lesson that passes every rule (LESSON=counterfactual_maps AFTER=occlusion)"
	@echo "make order      number the lessons as tools/lessons.py lists them, and mend every link"
	@echo "make data       rebuild what datasets/ ships (about an hour; MNIST=folder for the nets trained on MNIST; SEED=1: other nets, into build/nets/1, for make evidence)"
	@echo "make lock       pin the newest versions of the packages in requirements.txt"
	@echo "make lint       check style, and mend what can be mended"
	@echo "make clean      remove .venv and caches; downloads stay"

$(INSTALLED): requirements.txt tools/jupyterlab.json
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The course needs Python 3.11 or newer: make PYTHON=python3.12 " + "lab")'
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements.txt
	@mkdir -p .venv/share/jupyter/lab/settings && cp tools/jupyterlab.json .venv/share/jupyter/lab/settings/overrides.json
	@touch $(INSTALLED)

$(INSTALLED_ALL): docs/requirements.txt $(INSTALLED)
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r docs/requirements.txt
	@touch $(INSTALLED_ALL)

env: $(INSTALLED)

lab: env
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ARGS)

explore: env
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/tools/explore.ipynb $(ARGS)

play: $(INSTALLED_ALL)
	$(BIN)/python -m tools.playground $(ARGS)

test: env
	$(BIN)/python -m pytest $(ARGS)

test-all: test $(INSTALLED_ALL)
	COURSE_ALL=1 $(BIN)/python -m pytest $(SLOW) $(ARGS)

bench: env
	$(BIN)/python -m tools.bench $(ARGS)

hub-test: env
	$(BIN)/python -m tools.hub $(ARGS)

evidence: env
	$(BIN)/python -m tools.evidence $${LESSON:+"$$LESSON"} $(ARGS)

notebooks: env
	$(BIN)/python -m tools.run_notebooks $(ARGS)
	$(BIN)/python solutions/make_exercises.py
	$(BIN)/python -m tools.minutes

solutions: env
	$(BIN)/python solutions/make_exercises.py
	$(BIN)/python -m tools.minutes

figures: env
	COURSE_WORLD=public $(BIN)/python -m tools.make_real_figures
	cd notebooks/figures && ls | grep -E '\.(jpg|png)$$' | xargs sha256sum > SHA256SUMS

scoreboard: env
	$(BIN)/python -m tools.scoreboard $(ARGS)
	cd notebooks/figures && ls | grep -E '\.(jpg|png)$$' | xargs sha256sum > SHA256SUMS

site: $(INSTALLED_ALL)
	$(BIN)/python -m tools.build_site $(ARGS)

slides: env
	$(BIN)/python -m tools.slides $(ARGS)

progress: env
	$(BIN)/python -m tools.progress $(ARGS)

exam: env
	@test -z "$$SEED" || { echo "Others can see a seed on a command line: write it into a file, make exam SEED_FILE=file" >&2; exit 2; }
	$(BIN)/python solutions/make_exam.py $${SEED_FILE:+--seed-file "$$SEED_FILE"} $${BANK:+--bank "$$BANK"} $(ARGS)

grade: env
	$(BIN)/python solutions/grade.py "$${IN:?which folder? make grade IN=folder}" $(ARGS)

nbgrader: env
	$(BIN)/python solutions/make_nbgrader.py $(ARGS)

project-data: env
	$(BIN)/python -m tools.project_data "$${PROJECT:?which project? make project-data PROJECT=weather}" $${SEED:+--seed "$$SEED"} $(ARGS)

links: env
	$(BIN)/python -m tools.links "$$REPO" $(ARGS)

new: env
	$(BIN)/python -m tools.new_lesson "$${LESSON:?which name? make new LESSON=counterfactual_maps AFTER=occlusion}" --after "$$AFTER"

order: env
	$(BIN)/python -m tools.order

# with SEED=1 the nets alone, trained anew on other pictures, into build/nets/1: for `make evidence`
data: env
ifdef SEED
	COURSE_SEED="$$SEED" $(BIN)/python -m tools.make_digits --weights $${MNIST:+--mnist "$$MNIST"} --to "build/nets/$$SEED"
	COURSE_SEED="$$SEED" $(BIN)/python -m tools.make_shapes shapes_resnet shapes_vgg --to "build/nets/$$SEED"
	COURSE_SEED="$$SEED" COURSE_WEIGHTS="build/nets/$$SEED" $(BIN)/python -m tools.make_shapes shapes_watermark shapes_vit --to "build/nets/$$SEED"
	COURSE_SEED="$$SEED" $(BIN)/python -m tools.make_scenes --to "build/nets/$$SEED"
else
	$(BIN)/python -m tools.make_digits $${MNIST:+--mnist "$$MNIST"}
	$(BIN)/python -m tools.make_shapes
	$(BIN)/python -m tools.make_scenes
	chmod 644 datasets/weights/*.safetensors
	cd datasets && git ls-files --cached --others --exclude-standard -- . \
		| grep -E '\.(gz|png|safetensors)$$' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS
endif

lock: env
	$(BIN)/uv pip compile -q --upgrade --universal --no-header --no-annotate --no-emit-index-url \
		--extra test --extra compare pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --no-header --no-annotate --no-emit-index-url \
		--extra test --extra compare --extra site --extra browser --extra play --extra class --extra cluster -c requirements.txt pyproject.toml \
		-o docs/requirements.txt

lint: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build .pytest_cache .ruff_cache
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
