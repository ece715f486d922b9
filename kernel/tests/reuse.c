// SPDX-License-Identifier: GPL-2.0-or-later
/* Backing id 0 in a passthrough open: reuse the backing that the inode has (patch 3). */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static struct server *server;
static struct served_file *file;

static void mount_file(server_hook hook)
{
	int data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(data >= 0);
	CHECK_EQUAL(write(data, "content", 7), 7);
	server = server_new("/tmp/mount");
	file = server_add(server, "file", data);
	server->hook = hook;
	server_mount(server);
}

static int open_as(int backing_id, int flags)
{
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH);
	atomic_store(&file->backing_id, backing_id);
	return open("/tmp/mount/file", flags | O_CLOEXEC);
}

static void check_passes_through(int fd)
{
	char got[8] = "";

	CHECK_EQUAL(pread(fd, got, 7, 0), 7);
	CHECK(strcmp(got, "content") == 0);
	CHECK_EQUAL(file->reads, 0);
}

static void offered(void)
{
	mount_file(NULL);
	CHECK(server->offered & FUSE_PASSTHROUGH_REUSE);
}

static void beside_an_open_file(void)
{
	int id, one, other;

	mount_file(NULL);
	id = server_register(server, file->data);
	one = open_as(id, O_RDWR);
	CHECK(one >= 0);
	CHECK_EQUAL(server_unregister(server, id), 0);
	other = open_as(0, O_RDWR);
	CHECK(other >= 0);
	close(one);
	check_passes_through(other);
	/* It now holds the inode's backing itself. */
	one = open_as(0, O_RDONLY);
	CHECK(one >= 0);
	check_passes_through(one);
}

static void after_a_restart(void)
{
	int one, other;

	mount_file(NULL);
	one = open_as(server_register(server, file->data), O_RDONLY);
	CHECK(one >= 0);
	server_kill(server);
	server_start(server);
	other = open_as(0, O_RDWR);
	CHECK(other >= 0);
	check_passes_through(other);
	check_passes_through(one);
}

static void without_backing(void)
{
	int one;

	mount_file(NULL);
	CHECK_ERROR(open_as(0, O_RDONLY), ESTALE);
	one = open_as(server_register(server, file->data), O_RDONLY);
	CHECK(one >= 0);
	close(one);
	CHECK_ERROR(open_as(0, O_RDONLY), ESTALE);
	/* Every open that failed was released. */
	CHECK_EQUAL(file->opens, 5);
}

/* The first OPEN is answered with id 0, the second one with the id that the test registered. */
static bool answer_again(struct server *this, const struct fuse_in_header *in,
			 const void *argument)
{
	struct fuse_open_out out;

	(void)argument;
	if (in->opcode != FUSE_OPEN)
		return false;
	server_open_out(&this->files[0], &out);
	if (atomic_load(&this->requests[FUSE_OPEN]) == 1)
		out.backing_id = 0;
	server_reply(this, in->unique, 0, &out, sizeof(out));
	return true;
}

static void asked_again(void)
{
	int one;

	mount_file(answer_again);
	one = open_as(server_register(server, file->data), O_RDONLY);
	CHECK(one >= 0);
	CHECK_EQUAL(file->opens, 2);
	CHECK_EQUAL(file->releases, 1);
	check_passes_through(one);
}

static void read_only_path(void)
{
	int fd, one, other;

	mount_file(NULL);
	CHECK(mkdir("/tmp/ro", 0755) == 0);
	CHECK(mount("/tmp", "/tmp/ro", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/tmp/ro", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	fd = open("/tmp/ro/data", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	one = open_as(server_register(server, fd), O_RDONLY);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(0, O_RDWR), EIO);
	other = open_as(0, O_RDONLY);
	CHECK(other >= 0);
	check_passes_through(other);
}

static void in_cached_mode(void)
{
	int one;

	mount_file(NULL);
	one = open("/tmp/mount/file", O_RDONLY | O_CLOEXEC);
	CHECK(one >= 0);
	CHECK_ERROR(open_as(0, O_RDONLY), ESTALE);
	CHECK_ERROR(open_as(-1, O_RDONLY), EIO);
}

static const struct test tests[] = {
	{ "the kernel offers the reuse of backings", NEEDS(3), offered },
	{ "id 0 beside an open file", NEEDS(3), beside_an_open_file },
	{ "id 0 after a restart", NEEDS(3), after_a_restart },
	{ "id 0 without a backing is ESTALE", NEEDS(3), without_backing },
	{ "id 0 without a backing, then an id", NEEDS(3), asked_again },
	{ "id 0 keeps a read-only mount read-only", NEEDS(3), read_only_path },
	{ "id 0 of a file in cached mode is ESTALE", NEEDS(3), in_cached_mode },
};

TEST_MAIN(tests)
