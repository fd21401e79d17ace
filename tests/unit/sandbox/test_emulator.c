/* Which handlers of a host's binfmt_misc serve which programs. */
#include "sandbox/emulator.h"
#include "../tap.h"

#define ARM64                                                                                      \
	"offset 0\nmagic 7f454c460201010000000000000000000200b700\n"                               \
	"mask ffffffffffffff00fffffffffffffffffeffffff\n"

static bool serves(const char *entry, const char *arch)
{
	unsigned char h[20];
	return emulator_header(arch, h) && emulator_entry_serves(entry, h);
}

int main(void)
{
	unsigned char h[20];
	static const unsigned char s390x[20] = {
	        0x7f, 'E', 'L', 'F', 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 22};
	ok(emulator_header("s390x", h) && memcmp(h, s390x, 20) == 0, "a big-endian header");
	ok(!emulator_header("pdp11", h), "an architecture nobody knows");

	static const char qemu[] = "interpreter /usr/bin/qemu-aarch64-static\n";
	_cleanup_free_ char *good = xasprintf("enabled\n%sflags: POCF\n%s", qemu, ARM64);
	ok(serves(good, "arm64"), "as Debian registers it");
	ok(!serves(good, "arm"), "another machine");
	ok(!serves(good, "amd64"), "this machine");
	_cleanup_free_ char *lazy = xasprintf("enabled\n%sflags: POC\n%s", qemu, ARM64);
	ok(!serves(lazy, "arm64"), "without F the interpreter would be sought in the image");
	_cleanup_free_ char *off = xasprintf("disabled\n%sflags: F\n%s", qemu, ARM64);
	ok(!serves(off, "arm64"), "disabled");
	ok(!serves("enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7f454c46\n", "arm64"),
	        "one for any ELF file is meant for something else");
	ok(!serves("enabled\ninterpreter /x\nflags: F\noffset 4\nmagic 7f454c46\n", "arm64"),
	        "another offset");
	ok(!serves("enabled\ninterpreter /x\nflags: F\nextension .jar\n", "arm64"), "by extension");
	ok(!serves("enabled\ninterpreter /x\nflags: F\noffset 0\nmagic zz454c460201010000000000000"
	           "000000200b700\n",
	           "arm64"),
	        "no hexadecimal");
	ok(!serves("", "arm64") && !serves("enabled", "arm64"), "cut off");
	return tap_done();
}
