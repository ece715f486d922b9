// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How many random writes of 4 KiB one file takes per second, by 1 to 8 writers (patch 2): direct
 * I/O of ext4, which serves them side by side, on a disk in memory that takes its time for
 * each. The image of an empty ext4 is /disk.
 */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 256, MAX_JOBS = 8 };

static struct server *server;
static struct served_file *file;
static atomic_uint writes;
static atomic_bool stop;

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY);
	struct stat size;

	CHECK(in >= 0 && out >= 0);
	CHECK(fstat(in, &size) == 0);
	while (sendfile(out, in, NULL, (size_t)size.st_size) > 0)
		;
	CHECK_EQUAL(lseek(in, 0, SEEK_CUR), size.st_size);
	CHECK(fsync(out) == 0);
	close(in);
	close(out);
}

static void *block_of_zeroes(void)
{
	void *block;

	CHECK(posix_memalign(&block, BLOCK, BLOCK) == 0);
	memset(block, 0, BLOCK);
	return block;
}

static void *write_random(void *seed)
{
	unsigned state = (unsigned)(size_t)seed;
	void *block = block_of_zeroes();
	int fd = open("/tmp/mount/file", O_WRONLY | O_DIRECT);

	CHECK(fd >= 0);
	while (!atomic_load(&stop)) {
		off_t at = rand_r(&state) % BLOCKS * BLOCK;

		CHECK_EQUAL(pwrite(fd, block, BLOCK, at), BLOCK);
		atomic_fetch_add(&writes, 1);
	}
	close(fd);
	return NULL;
}

/* Writes per second. */
static double rate(size_t jobs)
{
	pthread_t threads[MAX_JOBS];
	double start = test_clock(), seconds;

	atomic_store(&writes, 0);
	atomic_store(&stop, false);
	for (size_t i = 0; i < jobs; i++)
		CHECK(pthread_create(&threads[i], NULL, write_random, (void *)i) == 0);
	usleep(500000 * test_times());
	atomic_store(&stop, true);
	for (size_t i = 0; i < jobs; i++)
		pthread_join(threads[i], NULL);
	seconds = test_clock() - start;
	return atomic_load(&writes) / seconds;
}

static void jobs(void)
{
	double one = 0, eight = 0;
	void *block = block_of_zeroes();
	int data;

	copy("/disk", "/dev/nullb0");
	CHECK(mkdir("/tmp/disk", 0755) == 0);
	CHECK(mount("/dev/nullb0", "/tmp/disk", "ext4", 0, "") == 0);
	data = open("/tmp/disk/file", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	CHECK(data >= 0);
	for (int i = 0; i < BLOCKS; i++)
		CHECK_EQUAL(write(data, block, BLOCK), BLOCK);
	CHECK(fsync(data) == 0);

	server = server_new("/tmp/mount");
	file = server_add(server, "file", data);
	server_mount(server);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES);
	atomic_store(&file->backing_id, server_register(server, data));
	for (size_t count = 1; count <= MAX_JOBS; count *= 2) {
		double found = rate(count);

		FIGURE("random 4 KiB writes to one file, slow disk, %zu jobs: %.0f/s", count, found);
		if (count == 1)
			one = found;
		eight = found;
	}
	CHECK_EQUAL(file->writes, 0);
	CHECK(eight > 2 * one);
}

static const struct test tests[] = {
	{ "eight jobs write more than two", NEEDS(2), jobs },
};

TEST_MAIN(tests)
