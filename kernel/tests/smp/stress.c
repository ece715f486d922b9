// SPDX-License-Identifier: GPL-2.0-or-later
/* Several CPUs on one inode: what is in the file afterwards. */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 256, MAX_WRITERS = 8 };

static struct server *server;
static struct served_file *file;

static void mount_file(unsigned open_flags, const char *path)
{
	int data = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(data >= 0);
	CHECK(ftruncate(data, BLOCKS * BLOCK) == 0);
	server = server_new("/tmp/mount");
	file = server_add(server, "file", data);
	server_mount(server);
	atomic_store(&file->open_flags, open_flags);
	if (open_flags & FOPEN_PASSTHROUGH)
		atomic_store(&file->backing_id, server_register(server, data));
}

struct writer {
	pthread_t thread;
	unsigned number, count; /* writes the blocks whose number is `number` modulo `count` */
	unsigned seed, writes;
	int fd;
	double until;
	unsigned char last[BLOCKS]; /* what it wrote last, 0: nothing */
};

static void *write_random(void *argument)
{
	struct writer *me = argument;
	unsigned char block[BLOCK];

	while (test_clock() < me->until) {
		unsigned at = (unsigned)rand_r(&me->seed) % (BLOCKS / me->count);
		unsigned char value = (unsigned char)(1 + me->writes % 255);

		at = at * me->count + me->number;
		memset(block, value, BLOCK);
		CHECK_EQUAL(pwrite(me->fd, block, BLOCK, at * BLOCK), BLOCK);
		me->last[at] = value;
		me->writes++;
	}
	return NULL;
}

/* Writes for so long (--times) with so many threads, a descriptor each, and checks the content. */
static void write_with(unsigned count, double seconds)
{
	static struct writer writers[MAX_WRITERS];
	double start = test_clock();
	unsigned char got[BLOCK];

	for (unsigned i = 0; i < count; i++) {
		writers[i] = (struct writer){ .number = i, .count = count, .seed = i,
					      .until = start + seconds * test_times() };
		writers[i].fd = open("/tmp/mount/file", O_RDWR);
		CHECK(writers[i].fd >= 0);
		CHECK(pthread_create(&writers[i].thread, NULL, write_random, &writers[i]) == 0);
	}
	for (unsigned i = 0; i < count; i++) {
		pthread_join(writers[i].thread, NULL);
		close(writers[i].fd);
	}
	for (unsigned at = 0; at < BLOCKS; at++) {
		unsigned char value = writers[at % count].last[at];

		if (!value || at >= BLOCKS / count * count)
			continue;
		CHECK_EQUAL(pread(file->data, got, BLOCK, at * BLOCK), BLOCK);
		for (int i = 0; i < BLOCK; i++)
			CHECK_EQUAL(got[i], value);
	}
}


static void passthrough_writers(void)
{
	mount_file(FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES, "/tmp/data");
	for (unsigned count = 1; count <= MAX_WRITERS; count *= 2)
		write_with(count, 0.5);
	CHECK_EQUAL(file->writes, 0);
}

static void direct_writers(void)
{
	mount_file(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, "/tmp/data");
	for (unsigned count = 1; count <= MAX_WRITERS; count *= 2)
		write_with(count, 0.5);
}

/* Opens and closes in cached mode, maps, fetches attributes and truncates, all beside writers. */
static atomic_bool done;

static void *open_and_close(void *flags)
{
	while (!atomic_load(&done)) {
		int fd = open("/tmp/mount/file", O_RDONLY);
		char byte;

		CHECK(fd >= 0);
		CHECK(pread(fd, &byte, 1, 0) >= 0);
		if (flags)
			munmap(mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0), BLOCK);
		close(fd);
	}
	return NULL;
}

static void *get_attributes(void *unused)
{
	struct fuse_notify_inval_inode_out out = { .ino = 2, .off = -1 };
	struct stat got;

	(void)unused;
	while (!atomic_load(&done)) {
		server_notify(server, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out));
		CHECK(stat("/tmp/mount/file", &got) == 0);
		CHECK_EQUAL(got.st_size, BLOCKS * BLOCK);
	}
	return NULL;
}

static void beside(unsigned open_flags, void *(*what)(void *), void *argument)
{
	pthread_t other[2];

	mount_file(open_flags, "/tmp/data");
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&other[i], NULL, what, argument) == 0);
	write_with(3, 1.5);
	atomic_store(&done, true);
	for (int i = 0; i < 2; i++)
		pthread_join(other[i], NULL);
}

static void passthrough_opens(void)
{
	beside(FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES, open_and_close, "map");
}

static void passthrough_attributes(void)
{
	beside(FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES, get_attributes, NULL);
}

static void direct_attributes(void)
{
	beside(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, get_attributes, NULL);
}

/* The file grows and is cut, with attributes fetched all the time: the size is always right in the
 * end. */
static void growing(void)
{
	char block[BLOCK] = { 0 };
	pthread_t other;
	struct stat got;
	int fd;

	mount_file(FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES, "/tmp/data");
	fd = open("/tmp/mount/file", O_RDWR);
	CHECK(fd >= 0);
	for (int round = 0; round < 100; round++) {
		int blocks = 1 + round % 7;

		CHECK(ftruncate(fd, 0) == 0);
		for (int i = 0; i < blocks; i++)
			CHECK_EQUAL(pwrite(fd, block, BLOCK, i * BLOCK), BLOCK);
		CHECK(fstat(fd, &got) == 0);
		CHECK_EQUAL(got.st_size, blocks * BLOCK);
		CHECK_EQUAL(lseek(file->data, 0, SEEK_END), blocks * BLOCK);
	}
	CHECK(ftruncate(fd, BLOCKS * BLOCK) == 0);
	CHECK(pthread_create(&other, NULL, get_attributes, NULL) == 0);
	for (int i = 0; i < 2000; i++)
		CHECK_EQUAL(pwrite(fd, block, BLOCK, (i % BLOCKS) * BLOCK), BLOCK);
	atomic_store(&done, true);
	pthread_join(other, NULL);
}

/* Cached and direct opens of the inode take turns, while direct writers run: the counter of the I/O
 * modes passes zero in both directions all the time. */
static void *open_cached(void *unused)
{
	(void)unused;
	while (!atomic_load(&done)) {
		char byte;
		int fd = open("/tmp/mount/file", O_RDONLY);

		CHECK(fd >= 0);
		CHECK(pread(fd, &byte, 1, 0) >= 0);
		close(fd);
	}
	return NULL;
}

/* A writable open is direct, a read-only one cached. */
static bool mode_by_flags(struct server *this, const struct fuse_in_header *in, const void *argument)
{
	const struct fuse_open_in *asked = argument;
	struct fuse_open_out out = { 0 };

	if (in->opcode != FUSE_OPEN)
		return false;
	if ((asked->flags & O_ACCMODE) != O_RDONLY)
		out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	server_reply(this, in->unique, 0, &out, sizeof(out));
	return true;
}

static void mode_changes(void)
{
	pthread_t other[2];
	int data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(data >= 0);
	CHECK(ftruncate(data, BLOCKS * BLOCK) == 0);
	server = server_new("/tmp/mount");
	file = server_add(server, "file", data);
	server->hook = mode_by_flags;
	server_mount(server);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&other[i], NULL, open_cached, NULL) == 0);
	write_with(3, 1.5);
	atomic_store(&done, true);
	for (int i = 0; i < 2; i++)
		pthread_join(other[i], NULL);
	/* All modes have ended: the inode takes any. */
	server_kill(server);
	server->hook = NULL;
	server_start(server);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH);
	atomic_store(&file->backing_id, server_register(server, data));
	CHECK(open("/tmp/mount/file", O_RDWR) >= 0);
}

static const struct test tests[] = {
	{ "passthrough writers", 0, passthrough_writers },
	{ "direct writers", 0, direct_writers },
	{ "passthrough writers beside opens and mappings", 0, passthrough_opens },
	{ "passthrough writers beside fetched attributes", 0, passthrough_attributes },
	{ "direct writers beside fetched attributes", 0, direct_attributes },
	{ "a file that grows and is cut", 0, growing },
	{ "direct writers beside cached opens", 0, mode_changes },
};

TEST_MAIN(tests)
