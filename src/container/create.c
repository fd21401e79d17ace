/* container/create.c - a new container: its image pinned, its folder written in staging and moved
 * into place under the lock that keeps names unique. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

#include "base/hex.h"
#include "sys/lock.h"
#include "sys/path.h"

void container_spec_release(struct container_spec *s)
{
	struct strv *all[] = {&s->command, &s->env, &s->env_files, &s->volumes, &s->mounts,
	        &s->tmpfs, &s->publish, &s->expose, &s->labels, &s->label_files, &s->add_hosts,
	        &s->ulimits};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		strv_release(all[i]);
}

/* made_up_name - two words, and digits where all else fails to be free. */
static char *made_up_name(struct store *s, const uint8_t *random)
{
	static const char *const first[] = {"amber", "bold", "brisk", "calm", "clear", "cosy",
	        "deep", "eager", "early", "fair", "fine", "fond", "free", "fresh", "gentle", "glad",
	        "golden", "grand", "green", "keen", "kind", "light", "lively", "loyal", "lucky",
	        "mellow", "merry", "mild", "neat", "noble", "plain", "proud", "quick", "quiet",
	        "ready", "rosy", "round", "sharp", "silent", "silver", "smooth", "snug", "solid",
	        "sound", "spry", "stout", "sunny", "swift", "tidy", "true", "vivid", "warm", "wise",
	        "witty"};
	static const char *const second[] = {"anchor", "anvil", "beam", "bolt", "bow", "buoy",
	        "cable", "capstan", "chisel", "cleat", "deck", "derrick", "dory", "fender",
	        "galley", "gauge", "girder", "halyard", "harbour", "hatch", "helm", "hull", "jetty",
	        "keel", "ketch", "lantern", "lathe", "ledger", "locker", "mast", "mill", "mortar",
	        "oar", "pier", "plank", "planer", "pulley", "quay", "raft", "rigging", "rivet",
	        "rudder", "sail", "saw", "schooner", "skiff", "sloop", "spar", "spindle", "tiller",
	        "truss", "vise", "wharf", "winch"};
	_cleanup_error_ struct error e = ERROR_INIT;
	char *name = xasprintf("%s_%s", first[random[0] % ARRAY_SIZE(first)],
	        second[random[1] % ARRAY_SIZE(second)]);
	if (container_check_name(s, name, &e) >= 0)
		return name;
	char *longer = xasprintf("%s_%02x%02x%02x", name, random[2], random[3], random[4]);
	free(name);
	return longer;
}

/* write_keeps - what the collector must leave as long as the container is there. */
static int write_keeps(int dir, const struct store_image *si, const struct oci_image *im)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char hex[DIGEST_HEX_MAX];
	strbuf_addf(&b, "I%s\n", digest_hex(&si->id, hex));
	strbuf_addf(&b, "B%s\n", digest_hex(&si->id, hex));
	for (size_t i = 0; i < im->n_diff_ids; i++)
		strbuf_addf(&b, "L%s\n", digest_hex(&im->diff_ids[i], hex));
	_cleanup_close_ int fd =
	        openat(dir, "keeps", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : sys_write_all(fd, b.buf, b.len);
}

static int write_folder(int dir, const json_t *config, const struct store_image *si,
        const struct oci_image *im, struct error *err)
{
	_cleanup_free_ char *text = json_pretty(config);
	_cleanup_close_ int fd = openat(
	        dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
	if (r >= 0)
		r = write_keeps(dir, si, im);
	_cleanup_close_ int lock = r < 0 ? -1 : container_lock_open(dir, err);
	if (r >= 0 && lock < 0)
		return -1;
	return r < 0 ? err_sys(err, r, "cannot write the container") : 0;
}

/* publish - under the lock: no other container can take the name in between. */
static int publish(struct store *s, struct store_lease *l, const struct container_spec *spec,
        const struct store_image *si, const struct oci_image *im, const uint8_t *random,
        const char *id, struct error *err)
{
	_cleanup_close_ int lock = sys_lock_file(store_dirfd(s), "containers.lock", true, true);
	if (lock < 0)
		return err_sys(err, lock, "cannot lock the containers of %s", store_path(s));
	if (spec->name && container_check_name(s, spec->name, err) < 0)
		return -1;
	_cleanup_free_ char *name = spec->name ? xstrdup(spec->name) : made_up_name(s, random);
	_cleanup_json_ json_t *config =
	        container_config(spec, id, name, si, im, store_path(s), err);
	if (!config)
		return -1;
	_cleanup_free_ char *staging = NULL;
	_cleanup_close_ int dir = -1;
	if (store_staging_dir(l, &staging, &dir, err) < 0 ||
	        write_folder(dir, config, si, im, err) < 0)
		return -1;
	return store_container_publish(s, l, staging, id, err);
}

static int create(struct store *s, struct store_lease *l, const struct container_spec *spec,
        char **ret_id, struct error *err)
{
	uint8_t random[32];
	char id[DIGEST_HEX_MAX];
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_sys(err, errno, "no random numbers");
	hex_encode(id, random, sizeof(random));
	/* Before an image is fetched for nothing. */
	if (spec->name && container_check_name(s, spec->name, err) < 0)
		return -1;
	struct store_image si = {0};
	struct oci_image im;
	oci_image_init(&im);
	struct image_find_options fo = {.platform = spec->platform,
	        .pull = spec->pull,
	        .quiet = spec->quiet,
	        .interrupted = spec->interrupted};
	int rc = image_find(s, l, spec->image, &fo, &si, err);
	if (rc >= 0)
		rc = store_image_config(s, &si.id, &im, err);
	if (rc >= 0)
		rc = publish(s, l, spec, &si, &im, random, id, err);
	if (rc >= 0)
		*ret_id = xstrdup(id);
	oci_image_release(&im);
	store_image_release(&si);
	return rc < 0 ? -1 : 0;
}

/* sweep - containers of `run --rm` whose supervisor was killed before it could remove them. */
static void sweep(struct store *s)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct container **v;
	size_t n;
	if (container_list(s, &v, &n, &ignored) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (v[i]->status == CONTAINER_EXITED &&
		        json_get_bool(container_host_config(v[i]), "AutoRemove", false))
			(void)!container_remove(s, v[i]->id, false, NULL, &ignored);
		error_release(&ignored);
	}
	containers_free(v, n);
}

int container_create(
        struct store *s, const struct container_spec *spec, char **ret_id, struct error *err)
{
	struct store_lease *l;
	if (store_lease_new(s, &l, err) < 0)
		return -1;
	sweep(s);
	int rc = create(s, l, spec, ret_id, err);
	store_lease_free(l);
	return rc;
}
