// SPDX-License-Identifier: GPL-2.0-or-later
/* Backing types (patch 7): registering, and what is refused. */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { RAM_DISK_MAJOR = 1, LOW_IDS = 0x3fffffff };

static struct server *server;
static struct served_file *file;

static void mount_file(void)
{
	int data = open("/tmp/data", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(data >= 0);
	CHECK_EQUAL(write(data, "content", 7), 7);
	server = server_new("/tmp/mount");
	file = server_add(server, "file", data);
	server_mount(server);
}

static int block_device(int flags)
{
	int fd;

	CHECK(mknod("/tmp/disk", S_IFBLK | 0600, makedev(RAM_DISK_MAJOR, 0)) == 0 || errno == EEXIST);
	fd = open("/tmp/disk", flags | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static int register_block(void)
{
	int fd = block_device(O_RDWR), id = server_register_as(server, fd, FUSE_BACKING_TYPE_BLOCK);

	close(fd);
	return id;
}

static void drop_capability(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &header, data) == 0);
	data[capability / 32].effective &= ~(1u << capability % 32);
	CHECK(syscall(SYS_capset, &header, data) == 0);
}

static void passthrough_as_before(void)
{
	int id, fd;
	char got[8] = "";

	mount_file();
	id = server_register_as(server, file->data, FUSE_BACKING_TYPE_PASSTHROUGH);
	CHECK(id > 0 && id <= LOW_IDS);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH);
	atomic_store(&file->backing_id, id);
	fd = open("/tmp/mount/file", O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQUAL(read(fd, got, 7), 7);
	CHECK_EQUAL(file->reads, 0);
	CHECK_EQUAL(server_unregister(server, id), 0);
	CHECK_EQUAL(server_unregister(server, id), -ENOENT);
	CHECK_EQUAL(server_unregister(server, 0), -EINVAL);
	CHECK_EQUAL(server_unregister(server, -1), -EINVAL);
	CHECK_EQUAL(server_register(server, block_device(O_RDONLY)), -EINVAL);
	CHECK_EQUAL(server_register(server, -1), -EBADF);
}

static void unknown_type(void)
{
	mount_file();
	CHECK_EQUAL(server_register_as(server, file->data, 2), -EINVAL);
	CHECK_EQUAL(server_register_as(server, file->data, FUSE_BACKING_TYPE_MASK), -EINVAL);
	CHECK_EQUAL(server_register_as(server, file->data, FUSE_BACKING_TYPE_MASK + 1), -EINVAL);
	CHECK_EQUAL(server_register_as(server, file->data, 1u << 31), -EINVAL);
}

static void block(void)
{
	int first, second;

	mount_file();
	first = register_block();
	CHECK(first > LOW_IDS);
	second = register_block();
	CHECK(second > LOW_IDS && second != first);
}

static void close_refused(void)
{
	int id;

	mount_file();
	id = register_block();
	CHECK(id > 0);
	CHECK_EQUAL(server_unregister(server, id), -EBUSY);
	CHECK_EQUAL(server_unregister(server, id), -EBUSY);
	CHECK_EQUAL(server_unregister(server, id + 1), -ENOENT);
	server_unmount(server);
}

static void not_a_block_device(void)
{
	mount_file();
	CHECK_EQUAL(server_register_as(server, file->data, FUSE_BACKING_TYPE_BLOCK), -ENOTBLK);
	CHECK_EQUAL(server_register_as(server, open("/dev/null", O_RDWR), FUSE_BACKING_TYPE_BLOCK),
		    -ENOTBLK);
	CHECK_EQUAL(server_register_as(server, -1, FUSE_BACKING_TYPE_BLOCK), -EBADF);
	/* Only a descriptor that keeps the device open will do. */
	CHECK_EQUAL(server_register_as(server, block_device(O_PATH), FUSE_BACKING_TYPE_BLOCK),
		    -EBADF);
}

static void not_for_passthrough(void)
{
	mount_file();
	atomic_store(&file->backing_id, register_block());
	CHECK(file->backing_id > 0);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH);
	CHECK_ERROR(open("/tmp/mount/file", O_RDONLY), EIO);
	CHECK_ERROR(open("/tmp/mount/file", O_RDWR), EIO);
}

static void without_rawio(void)
{
	mount_file();
	drop_capability(CAP_SYS_RAWIO);
	CHECK_EQUAL(register_block(), -EPERM);
	CHECK(server_register(server, file->data) > 0);
}

static void without_admin(void)
{
	int id;

	mount_file();
	id = server_register(server, file->data);
	CHECK(id > 0);
	drop_capability(CAP_SYS_ADMIN);
	CHECK_EQUAL(server_register(server, file->data), -EPERM);
	CHECK_EQUAL(server_unregister(server, id), -EPERM);
}

static const struct test tests[] = {
	{ "the passthrough type is as before", 0, passthrough_as_before },
	{ "an unknown type is refused", 0, unknown_type },
	{ "without CAP_SYS_ADMIN is refused", 0, without_admin },
	{ "a block device is registered, in an id range of its own", NEEDS(7), block },
	{ "a block device stays registered until the unmount", NEEDS(7), close_refused },
	{ "the block type takes an open block device only", NEEDS(7), not_a_block_device },
	{ "a block device is no passthrough backing", NEEDS(7), not_for_passthrough },
	{ "the block type needs CAP_SYS_RAWIO", NEEDS(7), without_rawio },
};

TEST_MAIN(tests)
