// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How often the inode's lock is taken (patch 6), by the kernel's own count: needs CONFIG_LOCK_STAT.
 */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096, ROUNDS = 200 };

static struct server *server;
static struct served_file *file;

static void mount_file(server_hook hook)
{
	int data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(data >= 0);
	CHECK(ftruncate(data, 2 * BLOCK) == 0);
	server = server_new("/tmp/mount");
	file = server_add(server, "file", data);
	server->hook = hook;
	server_mount(server);
}

static void count_from_here(void)
{
	int fd = open("/proc/lock_stat", O_WRONLY);

	CHECK(fd >= 0);
	CHECK_EQUAL(write(fd, "0", 1), 1);
	close(fd);
}

/* How often an inode's lock was taken since. */
static unsigned long taken(void)
{
	static const char name[] = "&fi->lock:";
	FILE *from = fopen("/proc/lock_stat", "r");
	unsigned long sum = 0, acquisitions;
	char line[512];

	CHECK(from);
	while (fgets(line, sizeof(line), from)) {
		const char *at = line + strspn(line, " ");

		if (strncmp(at, name, strlen(name)) != 0)
			continue;
		/* con-bounces contentions min max total avg acq-bounces acquisitions */
		CHECK_EQUAL(sscanf(at + strlen(name), "%*s %*s %*s %*s %*s %*s %*s %lu", &acquisitions),
			    1);
		sum += acquisitions;
	}
	fclose(from);
	return sum;
}

/* The count is of something. */
static void counted(void)
{
	struct fuse_notify_inval_inode_out out = { .ino = 2 };

	mount_file(NULL);
	CHECK(access("/tmp/mount/file", R_OK) == 0);
	count_from_here();
	for (int i = 0; i < ROUNDS; i++)
		CHECK_EQUAL(server_notify(server, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out)), 0);
	CHECK(taken() >= ROUNDS);
}

static void passthrough_write(void)
{
	char block[BLOCK] = { 0 };
	unsigned long count;
	int fd;

	mount_file(NULL);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_PARALLEL_DIRECT_WRITES);
	atomic_store(&file->backing_id, server_register(server, file->data));
	fd = open("/tmp/mount/file", O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQUAL(pwrite(fd, block, BLOCK, 0), BLOCK);
	count_from_here();
	for (int i = 0; i < ROUNDS; i++)
		CHECK_EQUAL(pwrite(fd, block, BLOCK, 0), BLOCK);
	count = taken();
	FIGURE("locks taken by a passthrough write: %.2f", (double)count / ROUNDS);
	CHECK(count < ROUNDS / 10);
}

/* Holds the writes of the second block until the test says so. */
static atomic_bool *let_go;

static bool hold_second_block(struct server *this, const struct fuse_in_header *in,
			      const void *argument)
{
	const struct fuse_write_in *write = argument;

	(void)this;
	if (in->opcode == FUSE_WRITE && write->offset == BLOCK) {
		while (!atomic_load(let_go))
			usleep(1000);
	}
	return false;
}

static void direct_write(void)
{
	char block[BLOCK] = { 0 };
	unsigned long count;
	pid_t child;
	int fd;

	let_go = mmap(NULL, sizeof(*let_go), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(let_go != MAP_FAILED);
	mount_file(hold_second_block);
	atomic_store(&file->open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
	fd = open("/tmp/mount/file", O_RDWR);
	CHECK(fd >= 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(pwrite(fd, block, BLOCK, BLOCK) != BLOCK);
	while (atomic_load(&server->requests[FUSE_WRITE]) == 0)
		usleep(1000);
	count_from_here();
	for (int i = 0; i < ROUNDS; i++)
		CHECK_EQUAL(pwrite(fd, block, BLOCK, 0), BLOCK);
	count = taken();
	atomic_store(let_go, true);
	CHECK(wait(NULL) == child);
	FIGURE("locks taken by a direct write beside another: %.2f", (double)count / ROUNDS);
	CHECK(count < ROUNDS / 10);
}

static void cached_open(void)
{
	unsigned long count;

	mount_file(NULL);
	CHECK(open("/tmp/mount/file", O_RDONLY) >= 0);
	count_from_here();
	for (int i = 0; i < ROUNDS; i++) {
		int fd = open("/tmp/mount/file", O_RDONLY);

		CHECK(fd >= 0);
		close(fd);
	}
	count = taken();
	FIGURE("locks taken by opening and closing beside another: %.2f", (double)count / ROUNDS);
	/* One is for the list of files open for writing. */
	CHECK(count < ROUNDS + ROUNDS / 10);
}

static const struct test tests[] = {
	{ "the kernel counts what its locks do", 0, counted },
	{ "a passthrough write inside the file takes no lock", NEEDS(6), passthrough_write },
	{ "a direct write beside another takes no lock", NEEDS(6), direct_write },
	{ "a cached open beside another does not lock its mode", NEEDS(6), cached_open },
};

TEST_MAIN(tests)
