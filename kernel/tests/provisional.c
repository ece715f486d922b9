// SPDX-License-Identifier: GPL-2.0-or-later
/* Flags that nobody has allocated are apart from those of Linux (patch 8). */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What other servers and kernels take from these structures is where it was. */
_Static_assert(sizeof(struct fuse_init_in) == 64 &&
		   offsetof(struct fuse_init_in, provisional_magic) == 56,
	       "fuse_init_in");
_Static_assert(sizeof(struct fuse_init_out) == 64 &&
		   offsetof(struct fuse_init_out, request_timeout) == 40 &&
		   offsetof(struct fuse_init_out, provisional_magic) == 56,
	       "fuse_init_out");

static struct server *server;
static int data;

static void prepare(void)
{
	data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	CHECK(data >= 0);
	server = server_new("/tmp/mount");
	server->wanted |= FUSE_PASSTHROUGH_REBIND;
	server_add(server, "file", data);
}

/* Refused with EOPNOTSUPP where rebinding was not agreed on. */
static int rebind(void)
{
	struct fuse_backing_rebind rebind = { .fd = data };
	int id = server_register(server, data);

	CHECK(id > 0);
	rebind.backing_id = (uint32_t)id;
	return ioctl(server->device, FUSE_DEV_IOC_BACKING_REBIND, &rebind);
}

static void offered(void)
{
	prepare();
	server_mount(server);
	CHECK_EQUAL(server->offered_in_flags2 & FUSE_PROVISIONAL_FLAGS, 0);
	CHECK_EQUAL(server->offered & FUSE_PROVISIONAL_FLAGS, FUSE_PROVISIONAL_FLAGS);
	CHECK(server->offered_in_flags2 & FUSE_PASSTHROUGH);
}

static void agreed(void)
{
	prepare();
	server_mount(server);
	CHECK_EQUAL(rebind(), 0);
}

static void not_marked(uint32_t magic)
{
	prepare();
	server->magic = magic;
	server_mount(server);
	CHECK(server->offered & FUSE_PASSTHROUGH_REBIND);
	CHECK_ERROR(rebind(), EOPNOTSUPP);
}

static void without_magic(void)
{
	not_marked(0);
}

static void wrong_magic(void)
{
	not_marked(FUSE_PROVISIONAL_MAGIC + 1);
}

static const struct test tests[] = {
	{ "offered beside the magic number, not among the allocated flags", NEEDS(8), offered },
	{ "agreed on with the magic number", NEEDS(4), agreed },
	{ "without the magic number nothing is agreed on", NEEDS(4) | NEEDS(8), without_magic },
	{ "with another number nothing is agreed on", NEEDS(4) | NEEDS(8), wrong_magic },
};

TEST_MAIN(tests)
