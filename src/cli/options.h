/* cli/options.h - table-driven command lines in docker's manner: --flag=value, --flag value,
 * -f value, -fvalue, bundled short switches, "--" ends; help is printed from the same table. */
#ifndef STRAKE_CLI_OPTIONS_H
#define STRAKE_CLI_OPTIONS_H

#include "base/error.h"
#include "base/strv.h"

enum cli_type {
	CLI_BOOL,    /* bool *; --x, --x=true|false */
	CLI_STR,     /* const char ** */
	CLI_OPT_STR, /* const char **; --x alone is "true", a value comes only as --x=VALUE */
	CLI_LIST,    /* struct strv *; may repeat */
	CLI_UINT,    /* unsigned * */
	CLI_SIZE,    /* uint64_t *: 64m */
	CLI_ABSENT,  /* known from docker or buildah, not here: `help` says what to do instead */
	CLI_HEADING, /* only a line in --help */
	CLI_MORE,    /* the last entry: the table goes on at dest (const struct cli_option *) */
};

struct cli_option {
	const char *name; /* without dashes; for CLI_HEADING the heading */
	char letter;      /* or 0 */
	enum cli_type type;
	void *dest;
	const char *arg; /* name of the value in help: "FILE" */
	const char *help;
};

struct cli_command {
	const char *name;
	const char *usage;   /* "[OPTIONS] CONTEXT" */
	const char *summary; /* one line */
	int (*run)(
	        int argc, char **argv); /* argv[0] is the command's name; returns the exit code */
};

/* cli_parse - options until the end of the table (NULL name); the rest goes to positional. With
 * stop_early everything from the first positional on is left alone (`run IMAGE cmd -x`).
 * Returns 1 if --help was asked for. */
int cli_parse(int argc, char **argv, const struct cli_option *options, bool stop_early,
        struct strv *positional, struct error *err) must_check;
void cli_help(const char *command, const char *usage, const char *summary,
        const struct cli_option *options, const char *epilogue);

#endif
