/* base/error.h - one error object, passed last, filled once and wrapped on the way up.
 *
 * An error is user interface: the message says what failed and why, the place names the file and
 * line it is about, the hint says what to do. All setters return -1 so that one writes
 *     return err_set(err, ERR_SYNTAX, "unknown instruction %s", name);
 * Functions that take `struct error *err` return >= 0 on success, -1 with err filled on failure;
 * err is never NULL and must be empty (ERROR_INIT or released) when passed in. */
#ifndef STRAKE_BASE_ERROR_H
#define STRAKE_BASE_ERROR_H

#include "base/base.h"

/* The class drives exit codes and retries. */
enum err_class {
	ERR_NONE = 0,
	ERR_USAGE,     /* the command line */
	ERR_SYNTAX,    /* the Dockerfile or another input text */
	ERR_BUILD,     /* a build step failed (RUN exit code, missing COPY source) */
	ERR_NOT_FOUND, /* an image, stage, file that was asked for does not exist */
	ERR_SYSTEM,    /* the kernel or the disk said no */
	ERR_NETWORK,   /* may pass when tried again */
	ERR_AUTH,      /* credentials missing or refused */
	ERR_INTEGRITY, /* bytes are not what their digest says */
	ERR_CANCELLED, /* Ctrl-C, SIGTERM, or another step's failure */
	ERR_INTERNAL,  /* a bug in strake */
};

struct error {
	enum err_class class;
	int errnum; /* errno where one applies, else 0 */
	char *msg;  /* one line or several; no trailing newline */
	char *hint; /* what to do; NULL if there is nothing to say */
	char *file; /* the place it is about; NULL if none */
	int line;   /* 1-based; 0 if unknown */
	int column; /* 1-based; 0 if unknown */
};

#define ERROR_INIT ((struct error){0})
#define _cleanup_error_ _cleanup_(error_release)

void error_release(struct error *err);
static inline bool error_is_set(const struct error *err)
{
	return err->class != ERR_NONE;
}
/* error_move - hand src's content to dst (released first); src becomes empty. */
void error_move(struct error *dst, struct error *src);

/* err_set - a new error; an earlier content is replaced. */
int err_set(struct error *err, enum err_class class, const char *fmt, ...) printf_like(3, 4);
/* err_sys - ERR_SYSTEM with ": strerror" appended. errnum may be given as errno or as -errno.
 * Well-known causes (ENOSPC, EMFILE, EROFS, EDQUOT) get a hint. */
int err_sys(struct error *err, int errnum, const char *fmt, ...) printf_like(3, 4);
/* err_wrap - prefix: "what we were doing: <old message>". */
int err_wrap(struct error *err, const char *fmt, ...) printf_like(2, 3);
/* err_hint - set the hint where there is none yet. */
int err_hint(struct error *err, const char *fmt, ...) printf_like(2, 3);
/* err_at - set the place where there is none yet. */
int err_at(struct error *err, const char *file, int line, int column);

/* All of these return -1, always; compilers are told here, so that they see that what follows a
 * failure is not reached. */
static inline int err_failed(int rc)
{
	(void)rc;
	return -1;
}
#define err_set(...) err_failed((err_set)(__VA_ARGS__))
#define err_sys(...) err_failed((err_sys)(__VA_ARGS__))
#define err_wrap(...) err_failed((err_wrap)(__VA_ARGS__))
#define err_hint(...) err_failed((err_hint)(__VA_ARGS__))
#define err_at(...) err_failed((err_at)(__VA_ARGS__))

const char *err_class_name(enum err_class class);

#endif
