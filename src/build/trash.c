/* build/trash.c - removes in the background what finished steps leave in staging.
 *
 * Removing a directory can wait for the disk (ext4 with discard does), and nothing depends on it:
 * one thread does it beside the next step. Whatever is not removed goes with the lease. */
#include "build/internal.h"

#include "sys/path.h"

struct trash {
	pthread_t thread;
	pthread_cond_t cond;
	struct strv names; /* below the lease's directory; under the build's lock, as is all */
	size_t next;
	bool started, ending;
};

static void *trash_main(void *arg)
{
	struct build *b = arg;
	struct trash *t = b->trash;
	pthread_mutex_lock(&b->lock);
	while (!t->ending || t->next < t->names.n) {
		if (t->next == t->names.n) {
			pthread_cond_wait(&t->cond, &b->lock);
			continue;
		}
		const char *name = t->names.v[t->next++]; /* strings stay where they are */
		pthread_mutex_unlock(&b->lock);
		(void)!sys_remove_tree(store_lease_dirfd(b->lease), name);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

void build_trash(struct build *b, const char *name)
{
	pthread_mutex_lock(&b->lock);
	struct trash *t = b->trash;
	if (!t) {
		t = b->trash = new0(struct trash, 1);
		pthread_cond_init(&t->cond, NULL);
		t->started = thread_start(&t->thread, trash_main, b);
	}
	strv_add(&t->names, name); /* without a thread the lease's end removes it */
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&b->lock);
}

void build_trash_end(struct build *b)
{
	struct trash *t = b->trash;
	if (!t)
		return;
	pthread_mutex_lock(&b->lock);
	t->ending = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&b->lock);
	if (t->started)
		pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->cond);
	strv_release(&t->names);
	free(t);
	b->trash = NULL;
}
