/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server that attaches backings (patch 5, docs/kernel-open.md), for the tests of opening without
 * a round trip: one file, "file" (also as "link"), which is answered as the plan says.
 */
#ifndef ATTACHING_H
#define ATTACHING_H

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

#define READ  FUSE_BACKING_ATTACH_READ
#define WRITE FUSE_BACKING_ATTACH_WRITE
#define PATH  "/tmp/mount/file"

enum { FILE_NODE = 2, MANY_NODES = 1000 };

/* What the server does beside what server.h says, in memory shared with it. */
static struct plan {
	atomic_uint attach;	  /* registration flags of what the next entries name; 0: nothing */
	atomic_uint attach_open;  /* the same for the answer to OPEN */
	atomic_bool closed_early; /* taken back before the answer is sent that names it */
	atomic_bool no_open;	  /* OPEN is not known (ENOSYS) */
	atomic_bool missing;	  /* the file is created by the first CREATE */
	atomic_int id[SERVER_FILES], error;
	atomic_uint handles, fh_seen, locks;
	unsigned many;	     /* files "0", "1", ... beside */
	const char *backing; /* path of the backing; NULL: the file's descriptor */
} *plan;

static struct server *server;
static struct served_file *file;

static inline unsigned seen(unsigned opcode)
{
	return atomic_load(&server->requests[opcode]);
}

/* ---- The server's part ---- */

static inline int register_backing(struct server *by, struct served_file *of, unsigned flags)
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

static inline void attach(struct server *by, struct served_file *of, struct fuse_entry_out *entry)
{
	unsigned flags = atomic_load(&plan->attach);
	int id = flags ? register_backing(by, of, flags) : -1;

	if (id <= 0)
		return;
	entry->attr.flags |= FUSE_ATTR_BACKING;
	entry->attr.rdev = (uint32_t)id;
	atomic_store(&plan->id[of - by->files], id);
	if (plan->closed_early)
		server_unregister(by, id);
}

static inline bool hook_lookup(struct server *by, const struct fuse_in_header *in, const char *name)
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

static inline bool hook_create(struct server *by, const struct fuse_in_header *in)
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

static inline bool hook_readdirplus(struct server *by, const struct fuse_in_header *in,
				    uint64_t offset)
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
	server_reply(by, in->unique, 0, &out,
		     FUSE_DIRENTPLUS_SIZE((&(struct fuse_direntplus){ .dirent.namelen = 4 })));
	return true;
}

static inline bool hook_open(struct server *by, const struct fuse_in_header *in,
			     const struct fuse_open_in *asked)
{
	struct served_file *of = &by->files[0];
	struct fuse_open_out out;
	unsigned flags = atomic_load(&plan->attach_open);

	if (in->nodeid != FILE_NODE)
		return false;
	if (plan->no_open)
		return server_reply(by, in->unique, ENOSYS, NULL, 0), true;
	server_open_out(of, &out);
	if (asked->open_flags & FUSE_OPEN_HANDLE)
		atomic_fetch_add(&plan->handles, 1);
	if (out.open_flags & FOPEN_PASSTHROUGH && !out.backing_id)
		out.backing_id = atomic_load(&plan->id[0]);
	if (flags) {
		out.open_flags = FOPEN_PASSTHROUGH | FOPEN_NOFLUSH;
		out.backing_id = register_backing(by, of, flags);
		atomic_store(&plan->id[0], out.backing_id);
		/* Only the first time: the VFS asks again once. */
		if (atomic_exchange(&plan->closed_early, false))
			server_unregister(by, out.backing_id);
	}
	if (asked->flags & O_TRUNC)
		ftruncate(of->data, 0);
	server_reply(by, in->unique, 0, &out, sizeof(out));
	return true;
}

static inline bool hook(struct server *by, const struct fuse_in_header *in, const void *argument)
{
	const struct fuse_ioctl_in *ioctl_in = argument;
	const struct fuse_lk_in *lock = argument;
	struct fuse_ioctl_out out = { 0 };

	switch (in->opcode) {
	case FUSE_LOOKUP:
		return hook_lookup(by, in, argument);
	case FUSE_CREATE:
		return hook_create(by, in);
	case FUSE_OPEN:
		return hook_open(by, in, argument);
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
	default:
		return false;
	}
}

/* ---- The test's part ---- */

static inline void prepare(unsigned attach_flags)
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

static inline void mount_attached(unsigned attach_flags)
{
	prepare(attach_flags);
	server_mount(server);
	CHECK(server->offered & FUSE_PASSTHROUGH_ATTACH);
}

/* What the kernel closed has arrived: requests are answered in any order, but quickly. */
static inline void settle(void)
{
	struct stat now;

	for (int i = 0; i < 20; i++) {
		stat("/tmp/mount/none", &now);
		usleep(1000);
	}
}

static inline void check_reads(int fd)
{
	char got[4096] = "";

	CHECK(fd >= 0);
	CHECK_EQUAL(pread(fd, got, sizeof(got), 0), sizeof(got));
	CHECK(got[0] == 'a' && got[25] == 'z' && got[4095] == 'a' + 4095 % 26);
}

/* The server was asked for so many opens, and for nothing that belongs to an open file. */
static inline void check_opens(unsigned opens)
{
	settle();
	CHECK_EQUAL(seen(FUSE_OPEN), opens);
	CHECK_EQUAL(seen(FUSE_READ) + seen(FUSE_WRITE), 0);
	if (!opens)
		CHECK_EQUAL(seen(FUSE_RELEASE) + seen(FUSE_FLUSH), 0);
}

static inline int take_back(void)
{
	uint32_t id = (uint32_t)atomic_load(&plan->id[0]);
	int left = ioctl(server->device, FUSE_DEV_IOC_BACKING_CLOSE, &id);

	return left < 0 ? -errno : left;
}

static inline void mount_backing(void)
{
	int fd;

	CHECK(mkdir("/tmp/back", 0755) == 0);
	CHECK(mount("none", "/tmp/back", "tmpfs", 0, NULL) == 0);
	fd = open("/tmp/back/data", O_RDWR | O_CREAT, 0666);
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	close(fd);
	plan->backing = "/tmp/back/data";
}

static inline void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	CHECK(fd >= 0 && write(fd, "2", 1) == 1);
	close(fd);
	settle();
}

#endif
