// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening without a round trip (patch 5, docs/kernel-open.md): backings that the server attaches to
 * an inode, opens that the kernel makes with them, and taking them back.
 */
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* This test also has to be built, and to fail, where the headers are of a stock kernel. */
#ifndef FUSE_PASSTHROUGH_ATTACH
#define FUSE_PASSTHROUGH_ATTACH (1ULL << 54)
#define FUSE_BACKING_ATTACH_READ (1 << 16)
#define FUSE_BACKING_ATTACH_WRITE (1 << 17)
#define FUSE_ATTR_BACKING (1 << 16)
#define FUSE_OPEN_HANDLE (1 << 16)
#endif

#define READ FUSE_BACKING_ATTACH_READ
#define WRITE FUSE_BACKING_ATTACH_WRITE
#define PATH "/tmp/mount/file"

enum { FILE_NODE = 2, MANY_NODES = 1000 };

/* What the server does beyond K1's, in memory shared with it. */
static struct plan {
	atomic_uint attach;	  /* registration flags of what the next entries name; 0: nothing */
	atomic_uint attach_open;  /* the same for the answer to OPEN */
	atomic_bool twice;	  /* name it in the entry, and take it back before the answer is sent */
	atomic_bool missing;	  /* the file is created by the first CREATE */
	atomic_int id[SERVER_FILES], error;
	atomic_uint handles, fh_seen, locks;
	unsigned many;		  /* files "0", "1", ... beside */
	const char *backing;	  /* path of the backing; NULL: the file's descriptor */
} *plan;

static struct server *server;
static struct served_file *file;

static unsigned seen(unsigned opcode)
{
	return atomic_load(&server->requests[opcode]);
}

/* ---- The server's part ---- */

static int register_backing(struct server *by, struct served_file *of, unsigned flags)
{
	char name[64];
	int fd, id;

	if (plan->backing)
		snprintf(name, sizeof(name), "%s", plan->backing);
	else
		snprintf(name, sizeof(name), "/proc/self/fd/%d", of->data);
	fd = open(name, O_PATH | O_CLOEXEC);
	id = fd < 0 ? -errno : server_register_as(by, fd, flags);
	if (id < 0)
		atomic_store(&plan->error, -id);
	close(fd);
	return id;
}

static void attach(struct server *by, struct served_file *of, struct fuse_entry_out *entry)
{
	unsigned flags = atomic_load(&plan->attach);
	int id = flags ? register_backing(by, of, flags) : -1;

	if (id <= 0)
		return;
	entry->attr.flags |= FUSE_ATTR_BACKING;
	entry->attr.rdev = (uint32_t)id;
	atomic_store(&plan->id[of - by->files], id);
	if (plan->twice)
		server_unregister(by, id);
}

static bool hook_lookup(struct server *by, const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out entry;
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	if (in->nodeid != FUSE_ROOT_ID)
		return false;
	if (plan->many && !*end && number < plan->many) {
		server_entry(by, &by->files[0], &entry);
		attach(by, &by->files[0], &entry);
		entry.nodeid = MANY_NODES + number;
		server_reply(by, in->unique, 0, &entry, sizeof(entry));
		return true;
	}
	if (strcmp(name, "file") && strcmp(name, "link"))
		return false;
	if (plan->missing)
		return server_reply(by, in->unique, ENOENT, NULL, 0), true;
	server_entry(by, &by->files[0], &entry);
	attach(by, &by->files[0], &entry);
	server_reply(by, in->unique, 0, &entry, sizeof(entry));
	return true;
}

static bool hook_create(struct server *by, const struct fuse_in_header *in)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;

	plan->missing = false;
	server_entry(by, &by->files[0], &out.entry);
	attach(by, &by->files[0], &out.entry);
	server_open_out(&by->files[0], &out.open);
	out.open.open_flags |= FOPEN_PASSTHROUGH;
	out.open.backing_id = (int32_t)out.entry.attr.rdev;
	server_reply(by, in->unique, 0, &out, sizeof(out));
	return true;
}

static bool hook_readdirplus(struct server *by, const struct fuse_in_header *in, uint64_t offset)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_dirent dirent;
		char name[8];
	} out = { .dirent = { .ino = 2, .off = 1, .namelen = 4, .type = S_IFREG >> 12 } };

	if (offset)
		return server_reply(by, in->unique, 0, NULL, 0), true;
	memcpy(out.dirent.name, "file", 4);
	server_entry(by, &by->files[0], &out.entry);
	attach(by, &by->files[0], &out.entry);
	server_reply(by, in->unique, 0, &out, FUSE_DIRENTPLUS_SIZE((&(struct fuse_direntplus){
							      .dirent.namelen = 4 })));
	return true;
}

static bool hook_open(struct server *by, const struct fuse_in_header *in,
		      const struct fuse_open_in *asked)
{
	struct served_file *of = &by->files[0];
	struct fuse_open_out out;
	unsigned flags = atomic_load(&plan->attach_open);

	if (in->nodeid != FILE_NODE)
		return false;
	server_open_out(of, &out);
	if (asked->open_flags & FUSE_OPEN_HANDLE)
		atomic_fetch_add(&plan->handles, 1);
	if (out.open_flags & FOPEN_PASSTHROUGH && !out.backing_id)
		out.backing_id = atomic_load(&plan->id[0]);
	if (flags) {
		out.open_flags = FOPEN_PASSTHROUGH | FOPEN_NOFLUSH;
		out.backing_id = register_backing(by, of, flags);
		atomic_store(&plan->id[0], out.backing_id);
	}
	if (asked->flags & O_TRUNC)
		ftruncate(of->data, 0);
	server_reply(by, in->unique, 0, &out, sizeof(out));
	return true;
}

static bool hook(struct server *by, const struct fuse_in_header *in, const void *argument)
{
	const struct fuse_ioctl_in *ioctl_in = argument;
	const struct fuse_lk_in *lock = argument;
	struct fuse_ioctl_out out = { 0 };

	switch (in->opcode) {
	case FUSE_LOOKUP: return hook_lookup(by, in, argument);
	case FUSE_CREATE: return hook_create(by, in);
	case FUSE_OPEN: return hook_open(by, in, argument);
	case FUSE_READDIRPLUS:
		return hook_readdirplus(by, in, ((const struct fuse_read_in *)argument)->offset);
	case FUSE_IOCTL:
		atomic_store(&plan->fh_seen, (unsigned)ioctl_in->fh);
		server_reply(by, in->unique, 0, &out, sizeof(out));
		return true;
	case FUSE_SETLK:
	case FUSE_SETLKW:
		atomic_store(&plan->fh_seen, (unsigned)lock->fh);
		atomic_fetch_add(&plan->locks, 1);
		server_reply(by, in->unique, 0, NULL, 0);
		return true;
	default: return false;
	}
}

/* ---- The test's part ---- */

static void prepare(unsigned attach_flags)
{
	int fd = open("/tmp/data", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	char content[4096];

	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(plan != MAP_FAILED && fd >= 0);
	for (unsigned i = 0; i < sizeof(content); i++)
		content[i] = (char)('a' + i % 26);
	CHECK_EQUAL(write(fd, content, sizeof(content)), sizeof(content));
	server = server_new("/tmp/mount");
	server->wanted |= FUSE_PASSTHROUGH_ATTACH | FUSE_ATOMIC_O_TRUNC | FUSE_DO_READDIRPLUS;
	server->hook = hook;
	file = server_add(server, "file", fd);
	atomic_store(&plan->attach, attach_flags);
}

static void mount_attached(unsigned attach_flags)
{
	prepare(attach_flags);
	server_mount(server);
	CHECK(server->offered & FUSE_PASSTHROUGH_ATTACH);
}

/* What the kernel closed has arrived: requests are answered in any order, but quickly. */
static void settle(void)
{
	struct stat now;

	for (int i = 0; i < 20; i++) {
		stat("/tmp/mount/none", &now);
		usleep(1000);
	}
}

static void check_reads(int fd)
{
	char got[4096] = "";

	CHECK(fd >= 0);
	CHECK_EQUAL(pread(fd, got, sizeof(got), 0), sizeof(got));
	CHECK(got[0] == 'a' && got[25] == 'z' && got[4095] == 'a' + 4095 % 26);
}

/* The server was asked for so many opens, and for nothing that belongs to an open file. */
static void check_opens(unsigned opens)
{
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), opens);
	CHECK_EQUAL(seen(FUSE_READ) + seen(FUSE_WRITE), 0);
	if (!opens)
		CHECK_EQUAL(seen(FUSE_RELEASE) + seen(FUSE_FLUSH), 0);
}

static int take_back(void)
{
	uint32_t id = (uint32_t)atomic_load(&plan->id[0]);
	int left = ioctl(server->device, FUSE_DEV_IOC_BACKING_CLOSE, &id);

	return left < 0 ? -errno : left;
}

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
	plan->twice = true;
	check_reads(open(PATH, O_RDONLY));
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), 1);
}

enum { OPENERS = 4, EACH = 1500, ROUNDS = 40 };
static atomic_uint opened, going;
static atomic_bool taken;
static int held[OPENERS][EACH];

static void *open_and_hold(void *argument)
{
	int *mine = argument;

	atomic_fetch_add(&going, 1);
	for (int i = 0; i < EACH; i++) {
		/* A few after it was taken back, too. */
		bool last = atomic_load(&taken);

		mine[i] = open(PATH, O_RDONLY);
		CHECK(mine[i] >= 0);
		atomic_fetch_add(&opened, 1);
		if (last && i + 3 < EACH) {
			for (int j = 1; j < 3; j++, atomic_fetch_add(&opened, 1))
				CHECK((mine[i + j] = open(PATH, O_RDONLY)) >= 0);
			break;
		}
	}
	return NULL;
}

/* Every open is either in the number that taking back returned, or was asked for. */
static void race(void)
{
	struct rlimit files = { 16000, 16000 };
	unsigned by_kernel = 0;

	setrlimit(RLIMIT_NOFILE, &files);
	mount_attached(0);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH);
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t threads[OPENERS];
		unsigned before = seen(FUSE_OPEN), ours;
		int fd, left;

		memset(held, -1, sizeof(held));
		atomic_store(&opened, 0);
		atomic_store(&going, 0);
		atomic_store(&taken, false);
		/* The first open attaches, answered with the attaching id; later asks get it too. */
		atomic_store(&plan->attach_open, READ);
		check_reads(fd = open(PATH, O_RDONLY));
		atomic_store(&plan->attach_open, 0);
		CHECK_EQUAL(seen(FUSE_OPEN), before + 1);
		for (int i = 0; i < OPENERS; i++)
			pthread_create(&threads[i], NULL, open_and_hold, held[i]);
		while (atomic_load(&going) < OPENERS ||
		       atomic_load(&opened) < (unsigned)(round * 7 % 300 + 1))
			usleep(0);
		left = take_back();
		atomic_store(&taken, true);
		for (int i = 0; i < OPENERS; i++)
			pthread_join(threads[i], NULL);
		ours = atomic_load(&opened);
		CHECK(left >= 0);
		CHECK_EQUAL(ours - (unsigned)left, seen(FUSE_OPEN) - before - 1);
		by_kernel += (unsigned)left;
		for (int i = 0; i < OPENERS; i++)
			for (int j = 0; j < EACH; j++)
				if (held[i][j] >= 0)
					close(held[i][j]);
		close(fd);
		CHECK_EQUAL(take_back(), 0);
		settle();
	}
	CHECK(by_kernel > 0);
}

static void mount_backing(void)
{
	int fd;

	CHECK(mkdir("/tmp/back", 0755) == 0);
	CHECK(mount("none", "/tmp/back", "tmpfs", 0, NULL) == 0);
	fd = open("/tmp/back/data", O_RDWR | O_CREAT, 0666);
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	close(fd);
	plan->backing = "/tmp/back/data";
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	CHECK(fd >= 0 && write(fd, "2", 1) == 1);
	close(fd);
	settle();
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

/* ---- Figures ---- */

enum { LOOPS = 4000, FIGURE_ROUNDS = 9 };

static double once(const char *path, bool with_read)
{
	struct timespec start, end;
	char data[4096];

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < LOOPS; i++) {
		int fd = open(path, O_RDONLY);

		if (with_read && read(fd, data, sizeof(data)) != sizeof(data))
			FAIL("read");
		close(fd);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e6 +
		(double)(end.tv_nsec - start.tv_nsec) / 1e3) / LOOPS;
}

static int ascending(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

/* The file itself, opened through the server (in passthrough, with one id), and by the kernel; in
 * turns, medians. On a kernel without the patch the last is missing. */
static void figures(void)
{
	static const char *const paths[] = { "/tmp/data", "/tmp/mount/asked", PATH };
	static const char *const names[] = { "native", "asked", "attached" };
	double took[2][3][FIGURE_ROUNDS];
	struct served_file *asked;
	unsigned columns;

	prepare(READ);
	asked = server_add(server, "asked", file->data);
	server->threads = 1;
	server_mount(server);
	columns = server->offered & FUSE_PASSTHROUGH_ATTACH ? 3 : 2;
	atomic_store(&asked->open_flags, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH);
	atomic_store(&asked->backing_id, server_register(server, file->data));
	for (int round = 0; round < FIGURE_ROUNDS; round++)
		for (int read = 0; read < 2; read++)
			for (unsigned i = 0; i < columns; i++)
				took[read][(i + (unsigned)round) % columns][round] =
					once(paths[(i + (unsigned)round) % columns], read);
	for (int read = 0; read < 2; read++)
		for (unsigned i = 0; i < columns; i++) {
			qsort(took[read][i], FIGURE_ROUNDS, sizeof(double), ascending);
			FIGURE("open+%sclose,%s %.2f us (%.2f to %.2f)", read ? "read+" : "",
			       names[i], took[read][i][FIGURE_ROUNDS / 2], took[read][i][0],
			       took[read][i][FIGURE_ROUNDS - 1]);
		}
	CHECK_EQUAL(asked->opens, 2 * FIGURE_ROUNDS * LOOPS);
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
	{ "opens racing with the taking back", NEEDS(5), race },
	{ "eviction drops the backing", NEEDS(5), evicted },
	{ "unmounting leaves nothing busy", NEEDS(5), unmounted },
	{ "more inodes than the server may have descriptors", NEEDS(5), many },
	{ "for writing on a read-only mount: refused", NEEDS(5), read_only_backing },
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
	{ "the server is gone", NEEDS(5), server_gone },
	{ "figures", 0, figures },
};

TEST_MAIN(tests)
