# 《语言模型全面教程》：`make help` 列出全部命令。
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

PYTHON   ?= python3
VENV     := .venv
BUILD    ?= _build
HTML     ?= $(BUILD)/html
PDF      ?= $(BUILD)/latex
EPUB     ?= $(BUILD)/epub
STUDENT  ?= $(BUILD)/student
JOBS     ?= auto
BOOK     := llm-tutorial
BIN      := $(VENV)/bin
# -n: 未解析的引用也告警；-W: 告警即错误；--keep-going: 一次列全。
SPHINX   := $(BIN)/python -m sphinx -n -W --keep-going -j $(JOBS) -c . -d $(BUILD)/doctrees
RUNTESTS := $(BIN)/python -m pytest -n 2 --no-loadscope-reorder

.PHONY: help html latexpdf epub student live lint test bench lock inventory system clean

help: ## 列出全部命令
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

html: $(VENV)/.book ## 生成网站（首次运行会自建虚拟环境）
	$(SPHINX) -b html source $(HTML)
	@echo; echo "完成。用浏览器打开：$(HTML)/index.html"

latexpdf: $(VENV)/.book ## 生成可打印的 PDF（需要 TeX；PAPER=b5 换开本）
	@tools/need xelatex latexmk fc-list
	$(SPHINX) -b latex $(if $(PAPER),-D printed_paper=$(PAPER)) source $(PDF)
	@PYTHONPATH=_ext $(BIN)/python -m printed.typeset $(PDF) $(BOOK)
	@echo; echo "完成：$(PDF)/$(BOOK).pdf"

student: $(VENV)/.book ## 生成学生版（不含提示与解答，网站与 PDF）和教师用的练习解答（PDF）
	@tools/need xelatex latexmk fc-list
	$(SPHINX) -d $(STUDENT)/doctrees -D edition=student -b html source $(STUDENT)/html
	$(SPHINX) -d $(STUDENT)/doctrees -D edition=student -b latex $(if $(PAPER),-D printed_paper=$(PAPER)) source $(STUDENT)/latex
	@PYTHONPATH=_ext $(BIN)/python -m printed.typeset $(STUDENT)/latex $(BOOK)-student
	$(SPHINX) -d $(STUDENT)/doctrees -D edition=answers -b latex $(if $(PAPER),-D printed_paper=$(PAPER)) source $(STUDENT)/answers
	@PYTHONPATH=_ext $(BIN)/python -m printed.typeset $(STUDENT)/answers $(BOOK)-answers
	@echo; echo "完成：$(STUDENT)/html/index.html"
	@echo "      $(STUDENT)/latex/$(BOOK)-student.pdf"
	@echo "      $(STUDENT)/answers/$(BOOK)-answers.pdf（含解答，不要发给学生）"

epub: $(VENV)/.book ## 生成 EPUB 3
	$(SPHINX) -b epub source $(EPUB)
	@echo; echo "完成：$(EPUB)/$(BOOK).epub"

live: $(VENV)/.live ## 边写边看：保存即重新生成并刷新浏览器
	$(BIN)/sphinx-autobuild -n -c . -j $(JOBS) -d $(BUILD)/doctrees --watch figures --watch _ext --watch _static --open-browser source $(HTML)

lint: $(VENV)/.book ## 只查书稿：写作规范、标签、公式、文献（不生成页面）
	@$(SPHINX) -q -E -b dummy -d $(BUILD)/lint source $(BUILD)/lint && echo "没有发现问题。"

test: $(VENV)/.test ## 运行全部测试（在 Debian/Ubuntu 上以 root 运行时自动装齐所需系统包）
	@tools/system --if-root
	$(RUNTESTS) $(ARGS)

bench: $(VENV)/.bench ## 与原样的 Sphinx + MathJax 并排量字节、时间与搜索；装有 TeX 时也量排版
	@tools/need chromium
	@PYTHONPATH=tools $(BIN)/python -m bench $(ARGS)

system: ## 安装 PDF 与浏览器测试所需的 Debian/Ubuntu 系统包（需 root）
	@tools/system

inventory: $(VENV)/.book ## 从 PyTorch 官网刷新书中用到的函数名与链接
	PYTHONPATH=_ext $(BIN)/python -m torch_api.inventory

lock: $(VENV)/.test ## 升级依赖并重写 requirements.lock
	$(BIN)/python -m pip install --upgrade --group book --group live --group test --group bench
	{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --all | sed 's/+cpu$$//'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean: ## 删除生成的文件（保留虚拟环境与图的缓存）
	find $(BUILD) -mindepth 1 -maxdepth 1 ! -name figures -exec rm -rf {} + 2>/dev/null || true

$(VENV)/.pip: requirements.lock
	@tools/venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.book $(VENV)/.live $(VENV)/.test $(VENV)/.bench: $(VENV)/.%: $(VENV)/.pip pyproject.toml
	@echo "安装依赖（$*），只在首次与锁文件改变时进行……"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --group $*
	@touch $@
