/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers for the tests of rebinding. They are threads of the test, so that it calls the ioctls and
 * sees what they do without messages; a test must not end while it waits for its own mount. A
 * second, inner mount serves files whose opens and reads wait until they are told to go on.
 */
#ifndef REBINDING_H
#define REBINDING_H

#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NODES = 8 };

struct node {	     /* node id: index + 2; name: "0", "1", ... */
	int fd;	     /* its data */
	int id;	     /* its backing, 0: none */
	bool passes; /* opens are answered with it */
	bool reuses; /* opens are answered with id 0 */
	bool lower;  /* an open for writing copies it up first */
	/* Of the inner mount: */
	int opens;     /* so many since the start */
	int fail_open; /* the open of this number fails with EIO, 0: none */
	bool hold_opens, hold_reads;
	uint64_t held[16]; /* requests that wait */
	struct fuse_read_in held_read[16];
	bool held_is_read[16];
	int holding;
};

struct mount {
	int dev;
	char dir[256];
	uint64_t offered; /* INIT flags of the kernel */
	enum { PLAIN, PASSES, REBINDS } kind;
	bool ready;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct node node[NODES];
	int rebound; /* last result of a copy-up's rebind */
};

static inline void answer(struct mount *m, uint64_t unique, int error, const void *data,
			  size_t size)
{
	char buffer[sizeof(struct fuse_out_header) + 140000];
	struct fuse_out_header *header = (void *)buffer;
	header->len = sizeof *header + (error ? 0 : size);
	header->error = -error;
	header->unique = unique;
	if (!error && size)
		memcpy(buffer + sizeof *header, data, size);
	/* ENOENT: nobody waits for it any more. */
	if (write(m->dev, buffer, header->len) < 0 && errno != ENOENT && errno != ENODEV)
		FAIL("answering: %s", strerror(errno));
}

static inline void fill_attributes(struct mount *m, uint64_t id, struct fuse_attr *attr)
{
	memset(attr, 0, sizeof *attr);
	attr->ino = id;
	attr->nlink = 1;
	attr->mode = S_IFDIR | 0755;
	if (id >= 2) {
		struct stat stat;
		fstat(m->node[id - 2].fd, &stat);
		attr->mode = S_IFREG | 0644;
		attr->size = stat.st_size;
		attr->blksize = 4096;
	}
}

static inline int rebind(struct mount *m, int id, int fd)
{
	struct fuse_backing_rebind arg = { .backing_id = id, .fd = fd };
	return ioctl(m->dev, FUSE_DEV_IOC_BACKING_REBIND, &arg) == 0 ? 0 : errno;
}

static inline int new_file(const char *name)
{
	char path[512];
	snprintf(path, sizeof path, "/tmp/%s", name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	return fd;
}

/* The copy is complete before the kernel is told, and that is done before the open is answered. */
static inline int copy_up(struct mount *m, struct node *node)
{
	static atomic_int count;
	char name[32];
	struct stat stat;
	snprintf(name, sizeof name, "copy%d", atomic_fetch_add(&count, 1));
	int copy = new_file(name);
	fstat(node->fd, &stat);
	char *bytes = malloc(stat.st_size + 1);
	CHECK(pread(node->fd, bytes, stat.st_size, 0) == stat.st_size);
	CHECK(pwrite(copy, bytes, stat.st_size, 0) == stat.st_size);
	free(bytes);
	int error = node->id ? rebind(m, node->id, copy) : 0;
	m->rebound = error;
	if (error)
		return error;
	node->fd = copy; /* the lower file stays open: it is compared later */
	node->lower = false;
	return 0;
}

static inline int open_node(struct mount *m, struct node *node, uint32_t flags,
			    struct fuse_open_out *out)
{
	memset(out, 0, sizeof *out);
	/* At exit, FLUSH would wait for servers that are gone. */
	out->open_flags = FOPEN_NOFLUSH;
	if (++node->opens == node->fail_open)
		return EIO;
	if (node->lower && (flags & O_ACCMODE) != O_RDONLY) {
		int error = copy_up(m, node);
		if (error)
			return error;
	}
	if (!node->passes)
		return 0;
	if (!node->id) {
		struct fuse_backing_map map = { .fd = node->fd };
		node->id = ioctl(m->dev, FUSE_DEV_IOC_BACKING_OPEN, &map);
		if (node->id <= 0)
			return errno;
	}
	out->open_flags |= FOPEN_PASSTHROUGH;
	out->backing_id = node->reuses ? 0 : node->id;
	return 0;
}

static inline void read_node(struct mount *m, struct node *node, uint64_t unique,
			     const struct fuse_read_in *in)
{
	char bytes[131072];
	size_t size = in->size < sizeof bytes ? in->size : sizeof bytes;
	ssize_t got = pread(node->fd, bytes, size, in->offset);
	answer(m, unique, got < 0 ? errno : 0, bytes, got < 0 ? 0 : got);
}

static inline void hold(struct mount *m, struct node *node, uint64_t unique,
			const struct fuse_read_in *in)
{
	int n = node->holding++;
	CHECK(n < 16);
	node->held[n] = unique;
	node->held_is_read[n] = in != NULL;
	if (in)
		node->held_read[n] = *in;
	pthread_cond_broadcast(&m->changed);
}

static inline void serve_one(struct mount *m, struct fuse_in_header *header, void *body)
{
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		struct fuse_init_out init;
		struct fuse_statfs_out statfs;
	} out;
	struct node *node = header->nodeid >= 2 ? &m->node[header->nodeid - 2] : NULL;

	memset(&out, 0, sizeof out);
	switch (header->opcode) {
	case FUSE_INIT: {
		const struct fuse_init_in *in = body;
		uint64_t want = FUSE_INIT_EXT | FUSE_ASYNC_DIO;

		if (m->kind >= PASSES)
			want |= FUSE_PASSTHROUGH;
		if (m->kind >= REBINDS)
			want |= FUSE_PASSTHROUGH_REBIND;
		m->offered = server_init_offered(in);
		want &= m->offered;
		out.init.major = 7;
		out.init.minor = in->minor;
		out.init.max_readahead = in->max_readahead;
		server_init_agree(&out.init, want, FUSE_PROVISIONAL_MAGIC);
		out.init.max_write = 131072;
		out.init.max_stack_depth = m->kind >= PASSES ? 1 : 0;
		m->ready = true;
		pthread_cond_broadcast(&m->changed);
		answer(m, header->unique, 0, &out.init, sizeof out.init);
		break;
	}
	case FUSE_LOOKUP: {
		const char *name = body;
		int index = name[0] - '0';
		if (name[1] || index < 0 || index >= NODES || m->node[index].fd < 0) {
			answer(m, header->unique, ENOENT, NULL, 0);
			break;
		}
		out.entry.nodeid = index + 2;
		out.entry.entry_valid = 1000;
		fill_attributes(m, out.entry.nodeid, &out.entry.attr);
		answer(m, header->unique, 0, &out.entry, sizeof out.entry);
		break;
	}
	case FUSE_SETATTR: {
		struct fuse_setattr_in *in = body;
		if (node && in->valid & FATTR_SIZE)
			CHECK(ftruncate(node->fd, in->size) == 0);
	} /* fall through */
	case FUSE_GETATTR:
		fill_attributes(m, header->nodeid, &out.attr.attr);
		answer(m, header->unique, 0, &out.attr, sizeof out.attr);
		break;
	case FUSE_OPEN: {
		if (node->hold_opens) {
			hold(m, node, header->unique, NULL);
			break;
		}
		struct fuse_open_in *in = body;
		int error = open_node(m, node, in->flags, &out.open);
		answer(m, header->unique, error, &out.open, sizeof out.open);
		break;
	}
	case FUSE_READ:
		if (node->hold_reads)
			hold(m, node, header->unique, body);
		else
			read_node(m, node, header->unique, body);
		break;
	case FUSE_RELEASE:
		answer(m, header->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_DESTROY:
		break;
	case FUSE_STATFS:
		answer(m, header->unique, 0, &out.statfs, sizeof out.statfs);
		break;
	default:
		answer(m, header->unique, ENOSYS, NULL, 0);
	}
}

static inline void *serve(void *data)
{
	struct mount *m = data;
	static _Thread_local char buffer[1 << 18] __attribute__((aligned(8)));
	for (;;) {
		ssize_t size = read(m->dev, buffer, sizeof buffer);
		if (size < 0 && (errno == ENOENT || errno == EINTR || errno == EAGAIN))
			continue;
		if (size < 0)
			return NULL;
		pthread_mutex_lock(&m->mutex);
		serve_one(m, (void *)buffer, buffer + sizeof(struct fuse_in_header));
		pthread_mutex_unlock(&m->mutex);
	}
}

/* Ends the connections: nothing waits for them any more. */
static inline void abort_mounts(void)
{
	umount2("/tmp/outer", MNT_FORCE);
	umount2("/tmp/inner", MNT_FORCE);
}

static inline void mount_it(struct mount *m, const char *name, int kind)
{
	char options[64];
	snprintf(m->dir, sizeof m->dir, "/tmp/%s", name);
	atexit(abort_mounts);
	CHECK(mkdir(m->dir, 0755) == 0);
	m->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	CHECK(m->dev >= 0);
	m->kind = kind;
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->changed, NULL);
	for (int i = 0; i < NODES; i++)
		m->node[i].fd = -1;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 m->dev);
	CHECK(mount("test", m->dir, "fuse", 0, options) == 0);
	CHECK(pthread_create(&m->thread, NULL, serve, m) == 0);
	pthread_mutex_lock(&m->mutex);
	while (!m->ready)
		pthread_cond_wait(&m->changed, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
	if (kind == REBINDS && !(m->offered & FUSE_PASSTHROUGH_REBIND))
		FAIL("the kernel does not offer FUSE_PASSTHROUGH_REBIND");
}

static inline void wait_held(struct mount *m, struct node *node, int count)
{
	pthread_mutex_lock(&m->mutex);
	while (node->holding < count)
		pthread_cond_wait(&m->changed, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
}

/* What waits goes on, and nothing will wait any more. */
static inline void let_go(struct mount *m, struct node *node)
{
	pthread_mutex_lock(&m->mutex);
	node->hold_opens = node->hold_reads = false;
	for (int i = 0; i < node->holding; i++) {
		struct fuse_open_out out;
		if (node->held_is_read[i]) {
			read_node(m, node, node->held[i], &node->held_read[i]);
			continue;
		}
		int error = open_node(m, node, O_RDONLY, &out);
		answer(m, node->held[i], error, &out, sizeof out);
	}
	node->holding = 0;
	pthread_mutex_unlock(&m->mutex);
}

static struct mount outer;

static inline int filled(const char *name, char with, size_t size)
{
	int fd = new_file(name);
	char *bytes = malloc(size);
	memset(bytes, with, size);
	CHECK(write(fd, bytes, size) == (ssize_t)size);
	free(bytes);
	return fd;
}

static inline struct node *add(struct mount *m, int index, int fd, bool passes)
{
	pthread_mutex_lock(&m->mutex);
	m->node[index].fd = fd;
	m->node[index].passes = passes;
	pthread_mutex_unlock(&m->mutex);
	return &m->node[index];
}

static inline int try_open(struct mount *m, int index, int flags)
{
	char path[300];
	snprintf(path, sizeof path, "%s/%d", m->dir, index);
	return open(path, flags | O_CLOEXEC);
}

static inline int open_at(struct mount *m, int index, int flags)
{
	int fd = try_open(m, index, flags);
	if (fd < 0)
		FAIL("open of %s/%d: %s", m->dir, index, strerror(errno));
	return fd;
}

/* The byte of which the first `size` are all; '?': not all the same, '-': an error or too few. */
static inline char content(int fd, size_t size)
{
	char *bytes = malloc(size);
	ssize_t got = pread(fd, bytes, size, 0);
	char found = got == (ssize_t)size ? bytes[0] : '-';
	for (ssize_t i = 1; found != '-' && i < got; i++)
		if (bytes[i] != bytes[0])
			found = '?';
	free(bytes);
	return found;
}

static inline void start(void)
{
	mount_it(&outer, "outer", REBINDS);
}

#endif
