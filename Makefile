# The front door; meson does the work. See HACKING.md.
PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build-release

.PHONY: all deps demo examples test test-vm torture bench bench-check install clean format
all: deps
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) --buildtype=release -Db_ndebug=true
	ninja -C $(BUILD) src/cli/strake

deps:
	@scripts/install-deps.sh build run

demo:
	@scripts/demo.sh

examples: all
	@scripts/install-deps.sh run examples
	@examples/run

test:
	@tests/run

test-vm: all
	@scripts/install-deps.sh vm
	@tests/vm/run

torture: all
	@scripts/install-deps.sh run test
	@tests/torture/run

bench: all
	@scripts/install-deps.sh bench
	@bench/run

bench-check: all
	@bench/check --build $(BUILD)

install: all
	install -D -m 755 $(BUILD)/src/cli/strake $(DESTDIR)$(PREFIX)/bin/strake
	for page in docs/man/*.1; do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man1/$${page##*/} || exit 1; \
	done

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build-release build-asan build-gcc-werror build-clang-werror
