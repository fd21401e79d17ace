/* base/error.c - see error.h. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static char *printf_like(1, 0) vfmt(const char *fmt, va_list ap)
{
	char *s = NULL;
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	return s;
}

void error_release(struct error *err)
{
	free(err->msg);
	free(err->hint);
	free(err->file);
	*err = ERROR_INIT;
}

void error_move(struct error *dst, struct error *src)
{
	if (dst == src)
		return;
	error_release(dst);
	*dst = *src;
	*src = ERROR_INIT;
}

int(err_set)(struct error *err, enum err_class class, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	/* Format first: the arguments may point into the old content. */
	char *msg = vfmt(fmt, ap);
	va_end(ap);
	error_release(err);
	err->class = class;
	err->msg = msg;
	return -1;
}

int(err_sys)(struct error *err, int errnum, const char *fmt, ...)
{
	va_list ap;
	if (errnum < 0)
		errnum = -errnum;
	va_start(ap, fmt);
	_cleanup_free_ char *what = vfmt(fmt, ap);
	va_end(ap);
	char *msg = xasprintf("%s: %s", what, strerror(errnum));
	error_release(err);
	err->class = ERR_SYSTEM;
	err->errnum = errnum;
	err->msg = msg;
	switch (errnum) {
	case ENOSPC:
		return err_hint(err, "the disk is full: free space, or run `strake prune`");
	case EDQUOT:
		return err_hint(
		        err, "your disk quota is used up: free space, or run `strake prune`");
	case EROFS:
		return err_hint(err, "the file system is read-only: point STRAKE_STORE elsewhere");
	case EMFILE:
	case ENFILE:
		return err_hint(err, "too few file descriptors: raise `ulimit -n`");
	default:
		return -1;
	}
}

int(err_wrap)(struct error *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_free_ char *what = vfmt(fmt, ap);
	va_end(ap);
	char *msg = xasprintf("%s: %s", what, str_or_empty(err->msg));
	free(err->msg);
	err->msg = msg;
	if (err->class == ERR_NONE)
		err->class = ERR_INTERNAL;
	return -1;
}

int(err_hint)(struct error *err, const char *fmt, ...)
{
	if (err->hint)
		return -1;
	va_list ap;
	va_start(ap, fmt);
	err->hint = vfmt(fmt, ap);
	va_end(ap);
	return -1;
}

int(err_at)(struct error *err, const char *file, int line, int column)
{
	if (!err->file && err->line == 0) {
		err->file = file ? xstrdup(file) : NULL;
		err->line = line;
		err->column = column;
	}
	return -1;
}

const char *err_class_name(enum err_class class)
{
	static const char *const names[] = {
	        [ERR_NONE] = "none",
	        [ERR_USAGE] = "usage",
	        [ERR_SYNTAX] = "syntax",
	        [ERR_BUILD] = "build",
	        [ERR_NOT_FOUND] = "not found",
	        [ERR_SYSTEM] = "system",
	        [ERR_NETWORK] = "network",
	        [ERR_AUTH] = "auth",
	        [ERR_INTEGRITY] = "integrity",
	        [ERR_CANCELLED] = "cancelled",
	        [ERR_INTERNAL] = "internal",
	};
	return (size_t) class < ARRAY_SIZE(names) ? names[class] : "?";
}
