// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parallel passthrough writes (patch 2). The backing is a file of a second server, which holds
 * writes back until as many are in flight as the test wants to see.
 */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096, WRITERS = 8, USER = 1000 };

static struct server *outer, *inner;
static struct served_file *file, *backing;

/* A file of so many blocks on the outer mount, backed by that of the inner one. */
static void mount_both(int blocks, unsigned outer_flags)
{
	int data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	int fd;

	CHECK(data >= 0);
	CHECK(ftruncate(data, blocks * BLOCK) == 0);
	inner = server_new("/tmp/inner");
	inner->wanted = 0;
	backing = server_add(inner, "file", data);
	atomic_store(&backing->open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
	server_mount(inner);

	outer = server_new("/tmp/outer");
	file = server_add(outer, "file", data);
	server_mount(outer);
	fd = open("/tmp/inner/file", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | outer_flags);
	atomic_store(&file->backing_id, server_register(outer, fd));
	CHECK(file->backing_id > 0);
	close(fd);
}

/* Has `count` processes write one block each, its content the number of the writer, at the same
 * time; returns how many writes the backing saw at once. It waits for `wanted`, or a while. */
static unsigned write_at_once(unsigned count, unsigned wanted, int flags, uid_t user, int first)
{
	char block[BLOCK];

	atomic_store(&backing->hold_writes, wanted);
	atomic_store(&backing->hold_ms, 300);
	atomic_store(&backing->most_in_flight, 0);
	for (unsigned i = 0; i < count; i++) {
		pid_t child = fork();

		CHECK(child >= 0);
		if (child == 0) {
			int fd;

			if (user && setuid(user))
				_exit(2);
			fd = open("/tmp/outer/file", O_WRONLY | flags);
			memset(block, 'a' + (int)i, BLOCK);
			if (fd < 0 || pwrite(fd, block, BLOCK, (first + (int)i) * BLOCK) != BLOCK)
				_exit(1);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < count; i++) {
		int status;

		CHECK(wait(&status) > 0);
		CHECK_EQUAL(status, 0);
	}
	CHECK_EQUAL(backing->in_flight, 0);
	CHECK_EQUAL(file->writes, 0);
	return atomic_load(&backing->most_in_flight);
}

/* The first write after the attributes were fetched finds out that there are no privileges. */
static void settle(void)
{
	CHECK_EQUAL(write_at_once(1, 1, 0, 0, 0), 1);
}

static void check_blocks(int first, int count)
{
	char block[BLOCK];

	for (int i = 0; i < count; i++) {
		CHECK_EQUAL(pread(file->data, block, BLOCK, (first + i) * BLOCK), BLOCK);
		for (int j = 0; j < BLOCK; j++)
			CHECK_EQUAL(block[j], 'a' + i);
	}
}

static void drop_fsetid(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &header, data) == 0);
	data[0].effective &= ~(1u << CAP_FSETID);
	CHECK(syscall(SYS_capset, &header, data) == 0);
}

static void offered(void)
{
	mount_both(1, 0);
	CHECK(outer->offered & FUSE_PASSTHROUGH_PARALLEL_WRITES);
}

static void in_flight(void)
{
	static const unsigned counts[] = { 1, 2, 4, 8 };

	mount_both(WRITERS, FOPEN_PARALLEL_DIRECT_WRITES);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		settle();
		CHECK_EQUAL(write_at_once(WRITERS, counts[i], 0, 0, 0) >= counts[i], 1);
		check_blocks(0, WRITERS);
	}
	settle();
	FIGURE("writes of one file that the backing sees at once, of %d: %u", WRITERS,
	       write_at_once(WRITERS, WRITERS, 0, 0, 0));
}

static void not_asked_for(void)
{
	mount_both(WRITERS, 0);
	settle();
	CHECK_EQUAL(write_at_once(WRITERS, 2, 0, 0, 0), 1);
	check_blocks(0, WRITERS);
}

static void appending(void)
{
	char seen[WRITERS] = { 0 }, block[BLOCK];

	mount_both(1, FOPEN_PARALLEL_DIRECT_WRITES);
	settle();
	CHECK_EQUAL(write_at_once(WRITERS, 2, O_APPEND, 0, 0), 1);
	/* Every block is there once, in whatever order. */
	for (int i = 0; i < WRITERS; i++) {
		CHECK_EQUAL(pread(file->data, block, BLOCK, (1 + i) * BLOCK), BLOCK);
		CHECK(block[0] >= 'a' && block[0] < 'a' + WRITERS);
		CHECK(memcmp(block, block + 1, BLOCK - 1) == 0);
		CHECK_EQUAL(seen[block[0] - 'a']++, 0);
	}
	CHECK_EQUAL(lseek(file->data, 0, SEEK_END), (1 + WRITERS) * BLOCK);
}

static void extending(void)
{
	struct stat now;

	mount_both(1, FOPEN_PARALLEL_DIRECT_WRITES);
	settle();
	for (int block = 1; block < 4; block++) {
		CHECK_EQUAL(write_at_once(1, 2, 0, 0, block), 1);
		CHECK(stat("/tmp/outer/file", &now) == 0);
		CHECK_EQUAL(now.st_size, (block + 1) * BLOCK);
		check_blocks(block, 1);
	}
}

/* Two writers past the end, of the same block: neither is inside the file when it begins. */
static void extending_one_by_one(void)
{
	char block[BLOCK] = { 0 };
	pid_t child;
	int fd;

	mount_both(1, FOPEN_PARALLEL_DIRECT_WRITES);
	settle();
	atomic_store(&backing->hold_writes, 2);
	atomic_store(&backing->hold_ms, 300);
	atomic_store(&backing->most_in_flight, 0);
	fd = open("/tmp/outer/file", O_WRONLY);
	CHECK(fd >= 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(pwrite(fd, block, BLOCK, 5 * BLOCK) != BLOCK);
	CHECK_EQUAL(pwrite(fd, block, BLOCK, 5 * BLOCK), BLOCK);
	CHECK(wait(NULL) == child);
	/* The second one may have been let in as a write inside the file, after the first. */
	CHECK_EQUAL(backing->most_in_flight, 1);
}

static void after_chmod(void)
{
	mount_both(WRITERS, FOPEN_PARALLEL_DIRECT_WRITES);
	settle();
	CHECK(chmod("/tmp/outer/file", 0644) == 0);
	CHECK_EQUAL(write_at_once(2, 2, 0, 0, 0), 1);
	check_blocks(0, 2);
}

/* With HANDLE_KILLPRIV_V2 it is the backing that removes the bits, if who registered it lacks
 * CAP_FSETID. */
static void suid(void)
{
	struct stat now;
	int data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(data >= 0);
	CHECK(ftruncate(data, WRITERS * BLOCK) == 0);
	outer = server_new("/tmp/outer");
	backing = file = server_add(outer, "file", data);
	server_mount(outer);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES);
	drop_fsetid();
	atomic_store(&file->backing_id, server_register(outer, data));
	CHECK(file->backing_id > 0);
	for (int round = 0; round < 20; round++) {
		CHECK(chmod("/tmp/outer/file", 06777) == 0);
		CHECK(stat("/tmp/outer/file", &now) == 0);
		CHECK_EQUAL(now.st_mode & 07777, 06777);
		write_at_once(WRITERS, 1, 0, USER, 0);
		CHECK(stat("/tmp/outer/file", &now) == 0);
		CHECK_EQUAL(now.st_mode & 07777, 0777);
		check_blocks(0, WRITERS);
	}
}

static const struct test tests[] = {
	{ "the kernel offers parallel passthrough writes", NEEDS(2), offered },
	{ "writes of one file in flight: 1, 2, 4, 8", NEEDS(2), in_flight },
	{ "one at a time if the server does not ask for more", 0, not_asked_for },
	{ "appending writes are one at a time", 0, appending },
	{ "extending writes end where they have to", 0, extending },
	{ "extending writes are one at a time", 0, extending_one_by_one },
	{ "the first write after a chmod is alone", 0, after_chmod },
	{ "writers of a file with SUID and SGID remove them", 0, suid },
};

TEST_MAIN(tests)
