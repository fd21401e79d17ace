/* tests/fuzz/replay.c - runs a fuzz target over every file of a corpus directory, in TAP. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS_DIR\n", argv[0]);
		return 2;
	}
	DIR *d = opendir(argv[1]);
	if (!d) {
		perror(argv[1]);
		return 1;
	}
	int n = 0;
	for (struct dirent *e; (e = readdir(d));) {
		int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		/* An exact allocation, so that ASan sees a read past the end. */
		uint8_t *p = malloc((size_t)st.st_size);
		ssize_t got = read(fd, p, (size_t)st.st_size);
		close(fd);
		if (got == st.st_size) {
			LLVMFuzzerTestOneInput(p, (size_t)got);
			printf("ok %d - %s\n", ++n, e->d_name);
		}
		free(p);
	}
	closedir(d);
	printf("1..%d\n", n);
	return n ? 0 : 1; /* an empty corpus tests nothing */
}
