// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening without a round trip (patch 5, docs/kernel-open.md): backings that the server attaches to
 * an inode, opens that the kernel makes with them, and taking them back.
 */
#define _GNU_SOURCE
#include "attaching.h"

static void offered(void)
{
	prepare(0);
	server_mount(server);
	CHECK(server->offered & FUSE_PASSTHROUGH_ATTACH);
}

static void reads(void)
{
	int fd, other;

	mount_attached(READ);
	for (int i = 0; i < 10; i++) {
		check_reads(fd = open(PATH, O_RDONLY));
		other = open(PATH, O_RDONLY | O_NOATIME);
		check_reads(other);
		close(fd);
		check_reads(other);
		close(other);
	}
	check_opens(0);
}

static void readdirplus(void)
{
	char names[512];
	int directory;

	mount_attached(READ);
	directory = open("/tmp/mount", O_RDONLY | O_DIRECTORY);
	CHECK(syscall(217, directory, names, sizeof(names)) > 0); /* getdents64 */
	close(directory);
	check_reads(open(PATH, O_RDONLY));
	CHECK(seen(FUSE_READDIRPLUS) > 0);
	check_opens(0);
}

static void created(void)
{
	int fd;

	prepare(WRITE);
	plan->missing = true;
	server_mount(server);
	fd = open(PATH, O_RDWR | O_CREAT, 0644);
	check_reads(fd);
	CHECK_EQUAL(seen(FUSE_CREATE), 1);
	close(fd);
	fd = open(PATH, O_RDWR | O_CREAT, 0644);
	check_reads(fd);
	CHECK_EQUAL(pwrite(fd, "X", 1, 0), 1);
	close(fd);
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 0);
	CHECK_EQUAL(seen(FUSE_RELEASE), 1); /* of what CREATE opened */
	CHECK_EQUAL(seen(FUSE_READ) + seen(FUSE_WRITE), 0);
}

static void attached_by_open(void)
{
	mount_attached(0);
	atomic_store(&plan->attach_open, READ);
	for (int i = 0; i < 5; i++) {
		int fd = open(PATH, O_RDONLY);

		check_reads(fd);
		close(fd);
	}
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
	CHECK_EQUAL(seen(FUSE_RELEASE), 1);
	CHECK_EQUAL(take_back(), 0);
}

static void writes(void)
{
	char got[3];
	int fd, appended;
	struct stat now;

	mount_attached(WRITE);
	fd = open(PATH, O_WRONLY);
	CHECK(fd >= 0);
	CHECK_EQUAL(pwrite(fd, "XY", 2, 0), 2);
	appended = open(PATH, O_RDWR | O_APPEND);
	CHECK_EQUAL(write(appended, "END", 3), 3);
	CHECK(fstat(fd, &now) == 0);
	CHECK_EQUAL(now.st_size, 4099);
	CHECK_EQUAL(pread(file->data, got, 3, 4096), 3);
	CHECK(memcmp(got, "END", 3) == 0);
	CHECK_EQUAL(pread(appended, got, 2, 0), 2);
	CHECK(memcmp(got, "XY", 2) == 0);
	close(fd);
	close(appended);
	check_opens(0);
}

static void writable_asks(void)
{
	int reader, writer;
	char got;

	mount_attached(READ);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH);
	check_reads(reader = open(PATH, O_RDONLY));
	check_opens(0);
	writer = open(PATH, O_RDWR);
	check_reads(writer);
	check_opens(1);
	CHECK_EQUAL(pwrite(writer, "A", 1, 0), 1);
	close(writer);
	CHECK_EQUAL(pread(reader, &got, 1, 0), 1);
	CHECK_EQUAL(got, 'A');
	/* Readers are still not asked for. */
	close(reader);
	reader = open(PATH, O_RDONLY);
	CHECK(reader >= 0);
	close(reader);
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
	CHECK_EQUAL(seen(FUSE_RELEASE), 1);
}

static void truncation_asks(void)
{
	struct stat now;
	int fd;

	mount_attached(WRITE);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH);
	fd = open(PATH, O_WRONLY | O_TRUNC);
	CHECK(fd >= 0);
	check_opens(1);
	CHECK(stat(PATH, &now) == 0);
	CHECK_EQUAL(now.st_size, 0);
}

/* An inode that is open in another mode: asked, no EIO. */
static void cached_asks(void)
{
	int one, other;

	mount_attached(READ);
	one = open(PATH, O_RDWR);
	check_reads(one);
	other = open(PATH, O_RDONLY);
	check_reads(other);
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 2);
	close(one);
	close(other);
	settle();
	check_reads(open(PATH, O_RDONLY));
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 2);
}

static void taken_back(void)
{
	int one, other;

	mount_attached(READ);
	check_reads(one = open(PATH, O_RDONLY));
	check_reads(other = open(PATH, O_RDONLY));
	CHECK_EQUAL(take_back(), 2);
	CHECK_EQUAL(take_back(), 2);
	close(one);
	CHECK_EQUAL(take_back(), 1);
	check_reads(other);
	close(other);
	CHECK_EQUAL(take_back(), 0);
	CHECK_EQUAL(take_back(), -ENOENT);
	check_opens(0);
	/* With nobody left, any mode is fine. */
	for (unsigned i = 1; i < 4; i++) {
		one = open(PATH, O_RDONLY);
		check_reads(one);
		close(one);
		settle();
		CHECK_EQUAL(seen(FUSE_OPEN), i);
	}
}

static void taken_back_unused(void)
{
	int fd;

	mount_attached(READ);
	check_reads(fd = open(PATH, O_RDONLY));
	close(fd);
	CHECK_EQUAL(take_back(), 0);
	CHECK_EQUAL(take_back(), -ENOENT);
	check_reads(open(PATH, O_RDONLY));
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
}

/* The id is taken back after the answer was made and before the kernel has it. */
static void taken_back_on_the_way(void)
{
	mount_attached(READ);
	plan->closed_early = true;
	check_reads(open(PATH, O_RDONLY));
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
}

static void evicted(void)
{
	struct stat now;

	prepare(READ);
	mount_backing();
	server_mount(server);
	close(open(PATH, O_RDONLY));
	CHECK_EQUAL(seen(FUSE_OPEN), 0);
	CHECK_ERROR(umount2("/tmp/back", 0), EBUSY);
	for (int i = 0; i < 50 && !seen(FUSE_FORGET) && !seen(FUSE_BATCH_FORGET); i++)
		drop_caches();
	CHECK(umount2("/tmp/back", 0) == 0);
	CHECK_EQUAL(take_back(), -ENOENT);
	CHECK(stat("/tmp/mount", &now) == 0);
	server_unmount(server);
}

static void unmounted(void)
{
	prepare(READ);
	mount_backing();
	server_mount(server);
	close(open(PATH, O_RDONLY));
	CHECK_EQUAL(seen(FUSE_OPEN), 0);
	server_unmount(server);
	CHECK(umount2("/tmp/back", 0) == 0);
}

static void many(void)
{
	struct rlimit few = { 64, 64 };
	char name[64];
	int fd;

	prepare(READ);
	mount_backing();
	plan->many = 3000;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	server_mount(server);
	for (unsigned i = 0; i < plan->many; i++) {
		snprintf(name, sizeof(name), "/tmp/mount/%u", i);
		fd = open(name, O_RDONLY);
		CHECK(fd >= 0);
		close(fd);
	}
	CHECK_EQUAL(plan->error, 0);
	check_opens(0);
	server_unmount(server);
	CHECK(umount2("/tmp/back", 0) == 0);
}

static void read_only_backing(void)
{
	int fd;

	mount_attached(0);
	CHECK(mkdir("/tmp/ro", 0755) == 0);
	CHECK(mount("/tmp", "/tmp/ro", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/tmp/ro", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	fd = open("/tmp/ro/data", O_PATH);
	CHECK_EQUAL(server_register_as(server, fd, WRITE), -EROFS);
	CHECK(server_register_as(server, fd, READ) > 0);
	CHECK(server_register_as(server, fd, 0) > 0);
	close(fd);
	fd = open("/tmp/data", O_PATH);
	CHECK(server_register_as(server, fd, WRITE) > 0);
	CHECK_EQUAL(server_register_as(server, fd, 1 << 18), -EINVAL);
	fd = open("/tmp", O_PATH);
	CHECK(server_register_as(server, fd, READ) < 0);
}

/* The FUSE mount itself: the reply makes a file, and attaches nothing. */
static void read_only_mount(void)
{
	mount_attached(WRITE);
	CHECK(mount(NULL, "/tmp/mount", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	check_reads(open(PATH, O_RDONLY));
	CHECK(plan->id[0] > 0);
	CHECK_EQUAL(take_back(), -ENOENT);
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
	CHECK_ERROR(open(PATH, O_RDWR), EROFS);
}

/* A server that knows no OPEN: everything is cached, and nothing is opened beside. */
static void without_open(void)
{
	int fd;

	prepare(READ);
	plan->no_open = true;
	server_mount(server);
	check_reads(fd = open("/tmp/mount/link", O_RDWR));
	close(fd);
	check_reads(fd = open(PATH, O_RDONLY));
	check_reads(open(PATH, O_RDWR));
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
	CHECK(seen(FUSE_READ) > 0);
}

static void unprivileged(void)
{
	int status;

	mount_attached(0);
	if (fork() == 0) {
		if (setuid(65534))
			_exit(2);
		_exit(server_register_as(server, file->data, READ) != -EPERM);
	}
	CHECK(wait(&status) > 0);
	CHECK_EQUAL(status, 0);
}

static void no_default_permissions(void)
{
	char options[128];

	prepare(0);
	server->device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	CHECK(mkdir("/tmp/mount", 0755) == 0);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 server->device);
	CHECK(mount("test", "/tmp/mount", "fuse", 0, options) == 0);
	server_start(server);
	settle();
	CHECK(server->offered & FUSE_PASSTHROUGH_ATTACH);
	CHECK_EQUAL(server_register_as(server, file->data, READ), -EOPNOTSUPP);
	CHECK(server_register_as(server, file->data, 0) > 0);
}

static void not_negotiated(void)
{
	prepare(0);
	server->wanted &= ~FUSE_PASSTHROUGH_ATTACH;
	server_mount(server);
	CHECK(server->offered & FUSE_PASSTHROUGH_ATTACH);
	CHECK_EQUAL(server_register_as(server, file->data, READ), -EOPNOTSUPP);
}

static int open_as_user(int flags)
{
	int status;

	if (fork() == 0) {
		if (setgid(1000) || setuid(1000))
			_exit(255);
		_exit(open(PATH, flags) < 0 ? errno : 0);
	}
	CHECK(wait(&status) > 0);
	return WEXITSTATUS(status);
}

static void permissions(void)
{
	mount_attached(WRITE);
	CHECK(chmod(PATH, 0640) == 0);
	CHECK_EQUAL(open_as_user(O_RDONLY), EACCES);
	CHECK_EQUAL(open_as_user(O_WRONLY), EACCES);
	CHECK(chmod(PATH, 0644) == 0);
	CHECK_EQUAL(open_as_user(O_RDONLY), 0);
	CHECK_EQUAL(open_as_user(O_RDWR), EACCES);
	CHECK(chmod(PATH, 0666) == 0);
	CHECK_EQUAL(open_as_user(O_RDWR), 0);
	check_opens(0);
}

/* What acts on the file itself needs no handle. */
static void without_handle(void)
{
	struct stat now;
	int fd;

	mount_attached(WRITE);
	fd = open(PATH, O_RDWR);
	check_reads(fd);
	CHECK(fsync(fd) == 0);
	CHECK(fdatasync(fd) == 0);
	CHECK(ftruncate(fd, 1 << 20) == 0);
	CHECK(fstat(fd, &now) == 0);
	CHECK_EQUAL(now.st_size, 1 << 20);
	CHECK_EQUAL(lseek(fd, 0, SEEK_HOLE), 4096);
	CHECK_EQUAL(lseek(fd, 0, SEEK_END), 1 << 20);
	CHECK(fallocate(fd, 0, 1 << 20, 4096) == 0);
	CHECK(fstat(fd, &now) == 0);
	CHECK_EQUAL(now.st_size, (1 << 20) + 4096);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	CHECK(fchmod(fd, 0600) == 0);
	CHECK_EQUAL(seen(FUSE_FSYNC) + seen(FUSE_FALLOCATE) + seen(FUSE_LSEEK), 0);
	close(fd);
	check_opens(0);
}

static void handle_for_ioctl(void)
{
	long argument = 0;
	int fd, other;

	mount_attached(READ);
	check_reads(fd = open(PATH, O_RDONLY));
	check_reads(other = open(PATH, O_RDONLY));
	CHECK_EQUAL(seen(FUSE_OPEN), 0);
	for (int i = 0; i < 3; i++)
		CHECK(ioctl(fd, _IOW('p', 1, long), &argument) == 0);
	CHECK_EQUAL(seen(FUSE_IOCTL), 3);
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
	CHECK_EQUAL(plan->handles, 1);
	CHECK_EQUAL(plan->fh_seen, 1);
	/* It reads from the backing as before, though the server answered a cached open. */
	check_reads(fd);
	CHECK_EQUAL(seen(FUSE_READ), 0);
	close(fd);
	close(other);
	settle();
	CHECK_EQUAL(seen(FUSE_RELEASE), 1);
	CHECK_EQUAL(seen(FUSE_FLUSH), 1);
}

static void handle_for_locks(void)
{
	struct flock lock = { .l_type = F_RDLCK };
	int fd;

	prepare(READ);
	server->wanted |= FUSE_FLOCK_LOCKS | FUSE_POSIX_LOCKS;
	server_mount(server);
	check_reads(fd = open(PATH, O_RDONLY));
	CHECK_EQUAL(seen(FUSE_OPEN), 0);
	CHECK(flock(fd, LOCK_SH) == 0);
	CHECK_EQUAL(plan->handles, 1);
	CHECK_EQUAL(plan->fh_seen, 1);
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	CHECK_EQUAL(plan->handles, 1);
	CHECK(plan->locks >= 2);
	close(fd);
	settle();
	CHECK_EQUAL(seen(FUSE_RELEASE), 1);
}

static void local_locks(void)
{
	struct flock lock = { .l_type = F_RDLCK };
	int fd, other;

	mount_attached(READ);
	check_reads(fd = open(PATH, O_RDONLY));
	check_reads(other = open(PATH, O_RDONLY));
	CHECK(flock(fd, LOCK_EX) == 0);
	CHECK_ERROR(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	close(fd);
	CHECK(flock(other, LOCK_SH | LOCK_NB) == 0);
	close(other);
	check_opens(0);
}

static void mapped(void)
{
	char *at;
	int fd;

	mount_attached(READ);
	fd = open(PATH, O_RDONLY);
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	CHECK(at != MAP_FAILED && at[25] == 'z');
	CHECK_EQUAL(take_back(), 0);
	CHECK(at[1] == 'b');
	check_opens(0);
}

static void executed(void)
{
	const char *script = "#!/bin/true\n";
	int status;

	mount_attached(READ);
	CHECK_EQUAL(pwrite(file->data, script, strlen(script), 0), strlen(script));
	CHECK(fchmod(file->data, 0755) == 0);
	if (fork() == 0)
		_exit(execl(PATH, PATH, NULL) ? 1 : 0);
	CHECK(wait(&status) > 0);
	CHECK_EQUAL(status, 0);
	check_opens(0);
}

static void hard_links(void)
{
	int fd;

	mount_attached(READ);
	check_reads(fd = open(PATH, O_RDONLY));
	check_reads(open("/tmp/mount/link", O_RDONLY));
	close(fd);
	check_reads(open(PATH, O_RDONLY));
	check_opens(0);
	CHECK(seen(FUSE_LOOKUP) >= 2);
}

/* A later entry names another id: that one is attached, and the files of the first one count. */
static void replaced(void)
{
	int fd, first;

	mount_attached(READ);
	check_reads(fd = open(PATH, O_RDONLY));
	first = plan->id[0];
	check_reads(open("/tmp/mount/link", O_RDONLY));
	check_opens(0);
	CHECK(plan->id[0] != first);
	CHECK_EQUAL(server_unregister(server, first), -ENOENT);
	CHECK_EQUAL(take_back(), 2);
	close(fd);
	CHECK_EQUAL(take_back(), 1);
}

/* Rebinding the attached id (patch 4) moves what the kernel opened, and what it will open. */
static void rebound(void)
{
	struct fuse_backing_rebind rebind;
	int fd, reader;
	char got;

	prepare(READ);
	server->wanted |= FUSE_PASSTHROUGH_REBIND;
	server_mount(server);
	check_reads(reader = open(PATH, O_RDONLY));
	fd = open("/tmp/copy", O_RDWR | O_CREAT | O_EXCL, 0666);
	CHECK_EQUAL(write(fd, "COPY", 4), 4);
	rebind = (struct fuse_backing_rebind){ .backing_id = (uint32_t)plan->id[0], .fd = fd };
	CHECK(ioctl(server->device, FUSE_DEV_IOC_BACKING_REBIND, &rebind) == 0);
	CHECK_EQUAL(pread(reader, &got, 1, 0), 1);
	CHECK_EQUAL(got, 'C');
	CHECK_EQUAL(lseek(reader, 0, SEEK_HOLE), 4);
	close(reader);
	reader = open(PATH, O_RDONLY);
	CHECK_EQUAL(pread(reader, &got, 1, 3), 1);
	CHECK_EQUAL(got, 'Y');
	check_opens(0);
	CHECK_EQUAL(take_back(), 1);
}

static void server_gone(void)
{
	int fd;

	mount_attached(READ);
	check_reads(fd = open(PATH, O_RDONLY));
	/* While somebody has the device, a server may come back. */
	server_kill(server);
	check_reads(open(PATH, O_RDONLY));
	close(server->device);
	CHECK_ERROR(open(PATH, O_RDONLY), ENOTCONN);
	check_reads(fd);
}

static const struct test tests[] = {
	{ "the kernel offers to open by itself", NEEDS(5), offered },
	{ "open, read and close without a request", NEEDS(5), reads },
	{ "an entry of READDIRPLUS attaches", NEEDS(5), readdirplus },
	{ "CREATE attaches", NEEDS(5), created },
	{ "the answer to OPEN attaches", NEEDS(5), attached_by_open },
	{ "open for writing, attached for writing", NEEDS(5), writes },
	{ "open for writing, attached for reading: asked", NEEDS(5), writable_asks },
	{ "O_TRUNC is asked", NEEDS(5), truncation_asks },
	{ "an inode in cached mode: asked", NEEDS(5), cached_asks },
	{ "taken back with files open", NEEDS(5), taken_back },
	{ "taken back, nobody has it open", NEEDS(5), taken_back_unused },
	{ "taken back while the entry is on its way", NEEDS(5), taken_back_on_the_way },
	{ "eviction drops the backing", NEEDS(5), evicted },
	{ "unmounting leaves nothing busy", NEEDS(5), unmounted },
	{ "more inodes than the server may have descriptors", NEEDS(5), many },
	{ "for writing on a read-only mount: refused", NEEDS(5), read_only_backing },
	{ "for writing, the mount itself is read-only: not attached", NEEDS(5), read_only_mount },
	{ "a server without OPEN", 0, without_open },
	{ "attaching without privilege: refused", NEEDS(5), unprivileged },
	{ "attaching without default_permissions: refused", NEEDS(5), no_default_permissions },
	{ "attaching without having asked for it: refused", NEEDS(5), not_negotiated },
	{ "the mode decides who opens", NEEDS(5), permissions },
	{ "fsync, fallocate, lseek, truncate without a handle", NEEDS(5), without_handle },
	{ "ioctl fetches a handle", NEEDS(5), handle_for_ioctl },
	{ "remote locks fetch a handle", NEEDS(5), handle_for_locks },
	{ "local locks need no handle", NEEDS(5), local_locks },
	{ "mapped", NEEDS(5), mapped },
	{ "executed", NEEDS(5), executed },
	{ "two names", NEEDS(5), hard_links },
	{ "another id replaces the first one", NEEDS(5), replaced },
	{ "the attached id is rebound", NEEDS(4) | NEEDS(5), rebound },
	{ "the server is gone", NEEDS(5), server_gone },
};

TEST_MAIN(tests)
