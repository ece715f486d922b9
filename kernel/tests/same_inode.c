// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may be open on one inode at the same time. The relaxed check (patch 1): backings conflict if
 * they are of different files, not if they were registered apart.
 */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static struct server *server;
static struct served_file *file;

static int make(const char *path, const char *content)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	CHECK(fd >= 0);
	CHECK(write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	return fd;
}

static void mount_file(void)
{
	server = server_new("/tmp/mount");
	file = server_add(server, "file", make("/tmp/data", "content"));
	server_mount(server);
}

/* Opens the mounted file, with the server answering so. */
static int open_as(unsigned open_flags, int backing_id, int flags)
{
	atomic_store(&file->open_flags, open_flags);
	atomic_store(&file->backing_id, backing_id);
	return open("/tmp/mount/file", flags | O_CLOEXEC);
}

static int register_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), id;

	CHECK(fd >= 0);
	id = server_register(server, fd);
	CHECK(id > 0);
	close(fd);
	return id;
}

/* Both descriptors read and write the one file, and nothing goes through the server. */
static void check_shared(int one, int other)
{
	char got[8] = "";

	CHECK_EQUAL(pwrite(one, "before.", 7, 0), 7);
	CHECK_EQUAL(pwrite(one, "CON", 3, 0), 3);
	CHECK_EQUAL(pread(other, got, 7, 0), 7);
	CHECK(strcmp(got, "CONore.") == 0);
	CHECK_EQUAL(pwrite(other, "TENT", 4, 3), 4);
	CHECK_EQUAL(pread(one, got, 7, 0), 7);
	CHECK(strcmp(got, "CONTENT") == 0);
	CHECK_EQUAL(file->reads + file->writes, 0);
}

static void offered(void)
{
	mount_file();
	CHECK(server->offered & FUSE_PASSTHROUGH_SAME_INODE);
}

static void two_ids(void)
{
	int id, other_id, one, other;

	mount_file();
	id = server_register(server, file->data);
	other_id = server_register(server, file->data);
	CHECK(id > 0 && other_id > 0 && id != other_id);
	one = open_as(FOPEN_PASSTHROUGH, id, O_RDWR);
	CHECK(one >= 0);
	other = open_as(FOPEN_PASSTHROUGH, other_id, O_RDWR);
	CHECK(other >= 0);
	check_shared(one, other);

	/* The first id goes, with its file: the second one and what is open are not affected. */
	CHECK_EQUAL(server_unregister(server, id), 0);
	close(one);
	one = open_as(FOPEN_PASSTHROUGH, other_id, O_RDWR);
	CHECK(one >= 0);
	CHECK_EQUAL(server_unregister(server, other_id), 0);
	check_shared(other, one);
}

static void two_descriptors(void)
{
	int one, other;

	mount_file();
	one = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/data", O_PATH), O_RDWR);
	CHECK(one >= 0);
	other = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/data", O_RDONLY), O_RDWR);
	CHECK(other >= 0);
	check_shared(one, other);
}

static void hard_link(void)
{
	int one, other;

	mount_file();
	CHECK(link("/tmp/data", "/tmp/link") == 0);
	one = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/data", O_RDWR), O_RDWR);
	CHECK(one >= 0);
	other = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/link", O_RDWR), O_RDWR);
	CHECK(other >= 0);
	check_shared(one, other);
}

static void restarted(void)
{
	int one, other;

	mount_file();
	one = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/data", O_RDWR), O_RDWR);
	CHECK(one >= 0);
	server_kill(server);
	server_start(server);
	/* The new server knows nothing of the old id. */
	other = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/data", O_RDWR), O_RDWR);
	CHECK(other >= 0);
	check_shared(one, other);
}

/* Every open has the path that it was opened by: through a read-only mount of the same file system
 * nothing is written, whatever the inode's first backing allows. */
static void read_only_path(void)
{
	int one, other, read_only;
	char got[8] = "";

	mount_file();
	CHECK(mkdir("/tmp/ro", 0755) == 0);
	CHECK(mount("/tmp", "/tmp/ro", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/tmp/ro", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	read_only = register_path("/tmp/ro/data", O_RDONLY);
	one = open_as(FOPEN_PASSTHROUGH, register_path("/tmp/data", O_RDWR), O_RDWR);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH, read_only, O_RDWR), EIO);
	other = open_as(FOPEN_PASSTHROUGH, read_only, O_RDONLY);
	CHECK(other >= 0);
	CHECK_EQUAL(pwrite(one, "C", 1, 0), 1);
	CHECK_EQUAL(pread(other, got, 7, 0), 7);
	CHECK(strcmp(got, "Content") == 0);
}

static void other_file(void)
{
	int one, id, other_id;

	mount_file();
	close(make("/tmp/other", "other"));
	id = register_path("/tmp/data", O_RDWR);
	other_id = register_path("/tmp/other", O_RDWR);
	one = open_as(FOPEN_PASSTHROUGH, id, O_RDONLY);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH, other_id, O_RDONLY), EIO);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH, other_id, O_RDWR), EIO);
	/* With the last close the inode takes any backing again. */
	close(one);
	one = open_as(FOPEN_PASSTHROUGH, other_id, O_RDONLY);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH, id, O_RDONLY), EIO);
}

static void mixed_modes(void)
{
	int one, id;

	mount_file();
	id = register_path("/tmp/data", O_RDWR);
	one = open_as(FOPEN_PASSTHROUGH, id, O_RDONLY);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(0, 0, O_RDONLY), EIO);
	CHECK_ERROR(open_as(FOPEN_DIRECT_IO, 0, O_RDONLY), EIO);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH | FOPEN_KEEP_CACHE, id, O_RDONLY), EIO);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH, id + 1, O_RDONLY), EIO);
	close(one);
	one = open_as(0, 0, O_RDONLY);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(FOPEN_PASSTHROUGH, id, O_RDONLY), EIO);
}

static const struct test tests[] = {
	{ "the kernel offers the relaxed check", NEEDS(1), offered },
	{ "two ids of one file", NEEDS(1), two_ids },
	{ "ids of two descriptors", NEEDS(1), two_descriptors },
	{ "ids of two links", NEEDS(1), hard_link },
	{ "an id from before a restart, and a new one", NEEDS(1), restarted },
	{ "one through a read-only mount", NEEDS(1), read_only_path },
	{ "another file is refused", 0, other_file },
	{ "mixed modes are refused", 0, mixed_modes },
};

TEST_MAIN(tests)
