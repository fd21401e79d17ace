/* Unit tests of store/: kill -9 at random moments, damaged databases, many processes and threads.
 * The promise: nothing that was acknowledged is lost, nothing wrong is ever found. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "support.h"

/* --- kill -9 -------------------------------------------------------------------------------- */

/* writer - publishes for ever; a byte into `ack` after each thing that was acknowledged. */
static void writer(int round, int ack)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	for (unsigned char i = 0;; i++) {
		char text[64];
		snprintf(text, sizeof(text), "round %d layer %d", round, i);
		struct digest d = put_layer(s, l, text), blob;
		must(store_blob_put(s, l, text, strlen(text), &blob, &err), &err, "blob");
		must(store_record_put(s, "step", &d, text, &err), &err, "record");
		if (i % 8 == 7)
			must(store_make_durable(s, &err), &err, "durable");
		if (write(ack, &i, 1) != 1)
			_exit(1);
	}
}

static int check_round(struct store *s, int round, int acknowledged)
{
	struct error err = ERROR_INIT;
	int lost = 0;
	for (int i = 0; i < acknowledged; i++) {
		char text[64], *got = NULL;
		snprintf(text, sizeof(text), "round %d layer %d", round, i);
		struct digest d = name_digest(text);
		lost += has_layer(s, &d, STORE_LAYER_FD | STORE_LAYER_TREE) != 1;
		lost += !store_blob_has(s, &d, NULL);
		lost += store_record_get(s, "step", &d, &got, &err) != 1;
		free(got);
		error_release(&err);
	}
	return lost;
}

static void report(void *ctx, const char *what, const char *problem)
{
	printf("# %s: %s\n", what, problem);
}

static void test_kill(void)
{
	struct error err = ERROR_INIT;
	int lost = 0, problems = 0, residue = 0, progress = 0;
	srand(20261121);
	for (int round = 0; round < 200; round++) {
		int p[2];
		must(pipe2(p, O_CLOEXEC), &err, "pipe");
		pid_t pid = fork();
		if (pid == 0) {
			writer(round, p[1]);
			_exit(1);
		}
		close(p[1]);
		long us = rand() % 16000;
		nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		int n = 0;
		unsigned char c;
		while (read(p[0], &c, 1) == 1)
			n++;
		close(p[0]);
		progress += n;

		struct store *s = open_store();
		lost += check_round(s, round, n);
		int r = store_fsck(s, false, round % 8 != 0, report, NULL, &err);
		must(r, &err, "fsck");
		problems += r;
		residue += entries_in("staging") != 0;
		if (round % 8 == 7) {
			uint64_t freed;
			struct store_prune_options o = {.all = true};
			must(store_prune(s, &o, &freed, &err), &err, "prune");
		}
		store_free(s);
	}
	ok(progress > 10, "the writers did write");
	is_int(lost, 0, "nothing acknowledged was lost in 200 kills");
	is_int(problems, 0, "fsck found nothing");
	is_int(residue, 0, "staging was reclaimed");
}

static void test_kill_prune(void)
{
	struct error err = ERROR_INIT;
	int problems = 0;
	for (int round = 0; round < 20; round++) {
		struct store *s = open_store();
		struct store_lease *l = new_lease(s);
		for (int i = 0; i < 12; i++) {
			char text[32];
			snprintf(text, sizeof(text), "%d/%d", round, i);
			put_layer(s, l, text);
		}
		store_lease_free(l);
		store_free(s);
		pid_t pid = fork();
		if (pid == 0) {
			uint64_t freed;
			struct store_prune_options o = {.all = true};
			s = open_store();
			must(store_prune(s, &o, &freed, &err), &err, "prune");
			_exit(0);
		}
		nanosleep(&(struct timespec){.tv_nsec = rand() % 4000 * 1000L}, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		s = open_store();
		int r = store_fsck(s, false, false, report, NULL, &err);
		must(r, &err, "fsck");
		problems += r;
		store_free(s);
	}
	is_int(problems, 0, "a killed collector leaves a clean store");
	is_int(entries_in("staging"), 0, "and no trash");
}

/* --- damaged databases ---------------------------------------------------------------------- */

static char db_path[128], wal_path[128];

static void fill_store(struct digest *layer, struct digest *blob)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	*layer = put_layer(s, l, "survivor");
	must(store_blob_put(s, l, "surviving blob", 14, blob, &err), &err, "blob");
	for (int i = 0; i < 300; i++) {
		struct digest k;
		char text[32];
		snprintf(text, sizeof(text), "key %d", i);
		k = name_digest(text);
		must(store_record_put(s, "step", &k, "some text of a step", &err), &err, "put");
	}
	must(store_make_durable(s, &err), &err, "durable");
	store_lease_free(l);
	store_free(s);
}

static void scribble(const char *path, off_t from, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd, &ERROR_INIT, path);
	char *junk = malloc(n);
	for (size_t i = 0; i < n; i++)
		junk[i] = (char)rand();
	must(pwrite(fd, junk, n, from) == (ssize_t)n ? 0 : -EIO, &ERROR_INIT, path);
	free(junk);
	close(fd);
}

enum damage { GARBAGE, HALF, EMPTY, GONE, INNER, NO_WAL, GARBAGE_WAL };
static const char *const damages[] = {"garbage", "truncated to half", "empty", "deleted",
        "garbage inside", "without its WAL", "with a garbage WAL"};

static void damage_db(enum damage how)
{
	struct stat st;
	must(stat(db_path, &st) < 0 ? -errno : 0, &ERROR_INIT, db_path);
	switch (how) {
	case GARBAGE:
		scribble(db_path, 0, (size_t)st.st_size);
		break;
	case HALF:
		must(truncate(db_path, st.st_size / 2) < 0 ? -errno : 0, &ERROR_INIT, "truncate");
		break;
	case EMPTY:
		must(truncate(db_path, 0) < 0 ? -errno : 0, &ERROR_INIT, "truncate");
		break;
	case GONE:
		must(unlink(db_path) < 0 ? -errno : 0, &ERROR_INIT, "unlink");
		break;
	case INNER:
		scribble(db_path, 4096, (size_t)st.st_size - 4096);
		break;
	case NO_WAL:
		(void)!unlink(wal_path);
		break;
	case GARBAGE_WAL: {
		int fd = open(wal_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		must(fd, &ERROR_INIT, wal_path);
		must(ftruncate(fd, 100000) < 0 ? -errno : 0, &ERROR_INIT, wal_path);
		close(fd);
		scribble(wal_path, 0, 100000);
		break;
	}
	}
}

static void test_damaged_db(void)
{
	for (enum damage how = GARBAGE; how <= GARBAGE_WAL; how++) {
		struct error err = ERROR_INIT;
		struct digest layer, blob;
		char what[96], *text = NULL;
		fill_store(&layer, &blob);
		damage_db(how);
		struct store *s = open_store();
		snprintf(what, sizeof(what), "database %s: the layer is found", damages[how]);
		is_int(has_layer(s, &layer, STORE_LAYER_TREE), 1, what);
		snprintf(what, sizeof(what), "database %s: the blob is found", damages[how]);
		ok(store_blob_has(s, &blob, NULL), what);
		struct digest k = name_digest("key 7");
		snprintf(what, sizeof(what), "database %s: a record is there or not", damages[how]);
		int rc = store_record_get(s, "step", &k, &text, &err);
		ok(rc == 1 || rc == 0, what);
		free(text);
		snprintf(what, sizeof(what), "database %s: it takes new records", damages[how]);
		is_int(store_record_put(s, "step", &k, "new", &err), 0, what);
		if (how <= INNER) {
			snprintf(
			        what, sizeof(what), "database %s: a warning says so", damages[how]);
			ok(warned(s, "tags are lost"), what);
		}
		store_free(s);
		remove_path(test_dir);
	}
}

static void test_damage_while_open(void)
{
	struct error err = ERROR_INIT;
	struct digest layer, blob, k = name_digest("key 7");
	char *text = NULL;
	fill_store(&layer, &blob);
	struct store *a = open_store(), *b = open_store();
	is_int(store_record_get(a, "step", &k, &text, &err), 1, "open and in use");
	free(text);
	must(unlink(db_path) < 0 ? -errno : 0, &err, db_path);
	is_int(store_record_put(a, "step", &k, "after", &err), 0,
	        "a database deleted under an open handle is noticed by the next writer");
	is_int(store_record_get(b, "step", &k, &text, &err), 1, "others see what it wrote");
	is_str(text, "after", "as it wrote it");
	free(text);
	store_free(a);
	store_free(b);
	remove_path(test_dir);
}

static void test_false_alarm(void)
{
	struct error err = ERROR_INIT;
	struct digest layer, blob, k = name_digest("key 7");
	char *text = NULL;
	fill_store(&layer, &blob);
	struct store *s = open_store();
	is_int(store_record_get(s, "step", &k, &text, &err), 1, "open and in use");
	free(text);
	/* As a read error makes SQLite say. */
	s->db.corrupt = true;
	(void)err_set(&err, ERR_INTEGRITY, "damaged");
	ok(db_again(s, -1, &err), "a database that is called damaged is looked at again");
	ok(!error_is_set(&err) && !warned(s, "tags are lost"), "and used on if it is whole");
	is_int(store_record_get(s, "step", &k, &text, &err), 1, "with all that it holds");
	free(text);
	store_free(s);
	remove_path(test_dir);
}

static void test_locked_db(void)
{
	struct error err = ERROR_INIT;
	struct digest layer, blob, k = name_digest("k");
	fill_store(&layer, &blob);
	sqlite3 *h = NULL;
	must(-sqlite3_open(db_path, &h), &err, db_path);
	must(-sqlite3_exec(h, "BEGIN IMMEDIATE", NULL, NULL, NULL), &err, "lock");
	pid_t pid = fork(); /* POSIX locks are per process */
	if (pid == 0) {
		struct store *s = open_store();
		store_set_busy_timeout(s, 50);
		int rc = store_record_put(s, "step", &k, "x", &err);
		bool good = rc == -1 && err.class == ERR_SYSTEM && strstr(err.msg, "locked") &&
		            err.hint;
		good = good && has_layer(s, &layer, 0) == 1;
		_exit(good ? 0 : 1);
	}
	int status;
	waitpid(pid, &status, 0);
	is_int(status, 0, "a locked database: a clear error for writers, readers go on");
	sqlite3_close(h);
	remove_path(test_dir);
}

/* --- many at once --------------------------------------------------------------------------- */

/* build - what a build does: look keys up, publish what is missing, use it. Returns failures. */
static int build(struct store *s, int seed)
{
	struct error err = ERROR_INIT;
	struct store_lease *l = new_lease(s);
	int failures = 0;
	for (int i = 0; i < 12; i++) {
		char text[64], *got = NULL;
		/* Half of the layers are wanted by everybody. */
		snprintf(text, sizeof(text), "layer %d of %d", i, i % 2 ? seed % 3 : 0);
		struct digest d = name_digest(text);
		const struct store_layer *layer = NULL;
		int rc = store_layer_get(s, l, &d, STORE_LAYER_FD, &layer, &err);
		if (rc == 0) {
			put_layer(s, l, text);
			rc = store_layer_get(
			        s, l, &d, STORE_LAYER_FD | STORE_LAYER_TREE, &layer, &err);
		}
		/* From here on the lease holds it, whatever the collector does. */
		if (rc != 1 || faccessat(layer->fd, "dir/file", R_OK, 0) < 0) {
			printf("# %s: %s\n", text, rc < 0 ? err.msg : rc ? "no file" : "vanished");
			failures++;
		}
		error_release(&err);
		failures += store_record_put(s, "step", &d, text, &err) < 0;
		rc = store_record_get(s, "step", &d, &got, &err);
		failures += rc < 0 || (rc == 1 && strcmp(got, text) != 0);
		free(got);
		error_release(&err);
		struct digest blob;
		failures += store_blob_put(s, l, text, strlen(text), &blob, &err) < 0;
		failures += !store_blob_has(s, &d, NULL);
		error_release(&err);
	}
	store_lease_free(l);
	return failures;
}

static void test_processes(void)
{
	enum { N = 20 };
	struct error err = ERROR_INIT;
	pid_t pids[N];
	/* Everybody goes on until the collector has run often enough. */
	volatile int *prunes =
	        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(prunes == MAP_FAILED ? -errno : 0, &err, "mmap");
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct store *s = open_store();
			int failures = 0;
			for (int k = 0; k < 4 || (*prunes < 15 && k < 1000); k++)
				failures += build(s, i + k);
			store_free(s);
			_exit(failures ? 1 : 0);
		}
	}
	/* The collector runs against them all the time. */
	int failures = 0, running = N;
	struct store *s = open_store();
	while (running) {
		int status;
		struct store_prune_options o = {.all = true, .images = true};
		if (store_prune(s, &o, NULL, &err) < 0) {
			printf("# prune: %s\n", err.msg);
			failures++;
		}
		error_release(&err);
		++*prunes;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
		for (int i = 0; i < N; i++) {
			if (!pids[i] || waitpid(pids[i], &status, WNOHANG) != pids[i])
				continue;
			pids[i] = 0;
			running--;
			failures += status != 0;
		}
	}
	printf("# %d prunes\n", *prunes);
	is_int(failures, 0, "20 processes that build and a collector at once: none fails");
	int r = store_fsck(s, false, false, report, NULL, &err);
	must(r, &err, "fsck");
	is_int(r, 0, "fsck finds nothing");
	ok(!warned(s, "damaged"), "nothing was found damaged");
	store_free(s);
	remove_path(test_dir);
}

static void test_first_open(void)
{
	enum { N = 20 };
	pid_t pids[N];
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct error err = ERROR_INIT;
			struct digest k = name_digest("k");
			struct store *s = open_store();
			must(store_record_put(s, "step", &k, "x", &err), &err, "put");
			bool said = warned(s, "tags");
			store_free(s);
			_exit(said);
		}
	}
	int failures = 0;
	for (int i = 0; i < N; i++) {
		int status;
		waitpid(pids[i], &status, 0);
		failures += status != 0;
	}
	is_int(failures, 0, "20 processes make one new store at once");
	remove_path(test_dir);
}

struct thread_arg {
	struct store *s;
	int seed, failures;
};

static void *thread_main(void *p)
{
	struct thread_arg *a = p;
	a->failures = build(a->s, a->seed);
	return NULL;
}

static void test_threads(void)
{
	enum { N = 6 };
	struct store *s = open_store();
	pthread_t t[N];
	struct thread_arg a[N];
	int failures = 0;
	for (int i = 0; i < N; i++) {
		a[i] = (struct thread_arg){.s = s, .seed = i + 1};
		must(-pthread_create(&t[i], NULL, thread_main, &a[i]), &ERROR_INIT, "thread");
	}
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		failures += a[i].failures;
	}
	is_int(failures, 0, "one handle serves six threads");
	store_free(s);
	remove_path(test_dir);
}

int main(void)
{
	make_test_dir();
	snprintf(db_path, sizeof(db_path), "%s/meta.db", test_dir);
	snprintf(wal_path, sizeof(wal_path), "%s/meta.db-wal", test_dir);
	test_kill();
	test_kill_prune();
	remove_path(test_dir);
	test_damaged_db();
	test_damage_while_open();
	test_false_alarm();
	test_locked_db();
	test_processes();
	test_first_open();
	test_threads();
	return tap_done();
}
