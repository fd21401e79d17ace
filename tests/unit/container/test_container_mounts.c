/* -v, --mount, --tmpfs and VOLUME as the array Mounts. */
#include "container/internal.h"

#include "../tap.h"

static char *mounts(const char *v, const char *mount, const char *tmpfs, const char *volume)
{
	struct container_spec spec = {0};
	struct oci_image im;
	struct error err = ERROR_INIT;
	oci_image_init(&im);
	if (v)
		strv_split(&spec.volumes, v, " ");
	if (mount)
		strv_add(&spec.mounts, mount);
	if (tmpfs)
		strv_add(&spec.tmpfs, tmpfs);
	if (volume)
		map_put(&im.volumes, volume, NULL);
	json_t *j = container_mounts(&spec, &im, "cafe", "/store", &err);
	struct strbuf b = STRBUF_INIT;
	size_t i;
	json_t *m;
	json_array_foreach(j, i, m)
	{
		strbuf_addf(&b, "%s%s %s -> %s%s", i ? "; " : "", json_get_str(m, "Type"),
		        json_get_str(m, "Source"), json_get_str(m, "Destination"),
		        json_get_bool(m, "RW", true) ? "" : " ro");
	}
	if (!j)
		strbuf_addf(&b, "%s", err.class == ERR_USAGE ? "refused" : "error");
	json_decref(j);
	error_release(&err);
	container_spec_release(&spec);
	oci_image_release(&im);
	return strbuf_detach(&b);
}

#define is_mounts(v, mount, tmpfs, volume, want)                                                   \
	do {                                                                                       \
		char *got_mounts = mounts(v, mount, tmpfs, volume);                                \
		is_str(got_mounts, want, #v " " #mount " " #tmpfs " " #volume);                    \
		free(got_mounts);                                                                  \
	} while (0)

int main(void)
{
	is_mounts("/usr:/x", NULL, NULL, NULL, "bind /usr -> /x");
	is_mounts("/usr/../usr/.:/x//y/./z/:ro", NULL, NULL, NULL, "bind /usr -> /x/y/z ro");
	is_mounts("/usr:/x:z,ro", NULL, NULL, NULL, "bind /usr -> /x ro");
	is_mounts("data:/x", NULL, NULL, NULL, "volume /store/volumes/data/data -> /x");
	is_mounts("/x", NULL, NULL, NULL, "volume /store/containers/cafe/volumes/1/data -> /x");
	is_mounts(
	        "/x:ro", NULL, NULL, NULL, "volume /store/containers/cafe/volumes/1/data -> /x ro");
	is_mounts("a:/x /y", NULL, NULL, "/z",
	        "volume /store/volumes/a/data -> /x; "
	        "volume /store/containers/cafe/volumes/1/data -> /y; "
	        "volume /store/containers/cafe/volumes/2/data -> /z");
	is_mounts("a:/x", NULL, NULL, "/x/", "volume /store/volumes/a/data -> /x");
	is_mounts(NULL, "type=bind,src=/usr,dst=/x,readonly", NULL, NULL, "bind /usr -> /x ro");
	is_mounts(NULL, "source=v1,target=/x", NULL, NULL, "volume /store/volumes/v1/data -> /x");
	is_mounts(NULL, "type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=0700", NULL, NULL,
	        "tmpfs  -> /x");
	is_mounts(NULL, NULL, "/t:size=64k,mode=755,ro", NULL, "tmpfs  -> /t ro");
	/* what is refused */
	is_mounts("a:x", NULL, NULL, NULL, "refused");
	is_mounts("a:/", NULL, NULL, NULL, "refused");
	is_mounts("a:/..", NULL, NULL, NULL, "refused");
	is_mounts("a:/x/../y", NULL, NULL, NULL, "volume /store/volumes/a/data -> /y");
	is_mounts("a:/x:rw:z", NULL, NULL, NULL, "refused");
	is_mounts("a:/x:maybe", NULL, NULL, NULL, "refused");
	is_mounts("-a:/x", NULL, NULL, NULL, "refused");
	is_mounts("a:/x b:/x/.", NULL, NULL, NULL, "refused");
	is_mounts(NULL, "type=bind,src=/no/such/place,dst=/x", NULL, NULL, "error");
	is_mounts(NULL, "type=bind,dst=/x", NULL, NULL, "refused");
	is_mounts(NULL, "type=nfs,src=a,dst=/x", NULL, NULL, "refused");
	is_mounts(NULL, "type=volume,src=a,dst=/x,what=1", NULL, NULL, "refused");
	is_mounts(NULL, NULL, "/t:size=big", NULL, "refused");
	is_mounts(NULL, NULL, "t", NULL, "refused");
	return tap_done();
}
