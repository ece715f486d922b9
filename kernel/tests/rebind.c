// SPDX-License-Identifier: GPL-2.0-or-later
//
// FUSE_DEV_IOC_BACKING_REBIND: what docs/kernel-rebind.md promises. Takes no library but libc; run
// as root, with a directory on a file system of memory as its first argument. Each test has a
// process and a mount of its own; the servers are threads of that process. A second, inner mount
// serves files whose opens and reads wait until they are told to go on.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Newer than the headers that this may be compiled with.
#define INIT_EXT (1ULL << 30)
#define INIT_PASSTHROUGH (1ULL << 37)
#define INIT_REBIND (1ULL << 53)
#define OPEN_PASSTHROUGH (1U << 7)
struct map { int32_t fd; uint32_t flags; uint64_t padding; };
struct rebind { uint32_t id; int32_t fd; uint32_t flags; uint32_t padding; };
#define IOC_OPEN _IOW(229, 1, struct map)
#define IOC_CLOSE _IOW(229, 2, uint32_t)
#define IOC_REBIND _IOW(229, 32, struct rebind)
struct init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
	uint32_t unused[6];
};
struct open_out { uint64_t fh; uint32_t open_flags; int32_t backing_id; };

static const char *work;	// directory of this test
static const char *test_name;

static void __attribute__((noreturn, format(printf, 2, 3))) fail_at(int line, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	printf("FAIL %s: line %d: ", test_name, line);
	vprintf(format, list);
	printf("\n");
	va_end(list);
	fflush(stdout);
	_exit(1);
}
#define FAIL(...) fail_at(__LINE__, __VA_ARGS__)
#define CHECK(condition) do { if (!(condition)) FAIL("%s (errno %d)", #condition, errno); } while (0)
#define EQUAL(left, right) do { \
	long long l_ = (left), r_ = (right); \
	if (l_ != r_) FAIL("%s is %lld, not %lld", #left, l_, r_); } while (0)

/* ---- the servers ---- */

enum { NODES = 8 };

struct node {			// node id: index + 2; name: "0", "1", ...
	int fd;			// its data
	int id;			// its backing, 0: none
	bool passes;		// opens are answered with it
	bool lower;		// an open for writing copies it up first
	// Of the inner mount:
	int opens;		// so many since the start
	int fail_open;		// the open of this number fails with EIO, 0: none
	bool hold_opens, hold_reads;
	uint64_t held[16];	// requests that wait
	struct fuse_read_in held_read[16];
	bool held_is_read[16];
	int holding;
};

struct mount {
	int dev;
	char dir[256];
	uint64_t offered;	// INIT flags of the kernel
	bool ask_rebind;
	bool ready;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct node node[NODES];
	int rebound;		// last result of a copy-up's rebind
};

static void answer(struct mount *m, uint64_t unique, int error, const void *data, size_t size)
{
	char buffer[sizeof(struct fuse_out_header) + 140000];
	struct fuse_out_header *header = (void *)buffer;
	header->len = sizeof *header + (error ? 0 : size);
	header->error = -error;
	header->unique = unique;
	if (!error && size)
		memcpy(buffer + sizeof *header, data, size);
	// ENOENT: nobody waits for it any more.
	if (write(m->dev, buffer, header->len) < 0 && errno != ENOENT && errno != ENODEV)
		FAIL("answering: %s", strerror(errno));
}

static void attributes(struct mount *m, uint64_t id, struct fuse_attr *attr)
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

static int rebind(struct mount *m, int id, int fd)
{
	struct rebind arg = {.id = id, .fd = fd};
	return ioctl(m->dev, IOC_REBIND, &arg) == 0 ? 0 : errno;
}

static int new_file(const char *name)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", work, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	return fd;
}

// The copy is complete before the kernel is told of it, and that is done before the open is answered.
static int copy_up(struct mount *m, struct node *node)
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
	node->fd = copy;	// the lower file stays open: it is compared later
	node->lower = false;
	return 0;
}

static int open_node(struct mount *m, struct node *node, uint32_t flags, struct open_out *out)
{
	memset(out, 0, sizeof *out);
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
		struct map map = {.fd = node->fd};
		node->id = ioctl(m->dev, IOC_OPEN, &map);
		if (node->id <= 0)
			return errno;
	}
	out->open_flags = OPEN_PASSTHROUGH;
	out->backing_id = node->id;
	return 0;
}

static void read_node(struct mount *m, struct node *node, uint64_t unique,
		      const struct fuse_read_in *in)
{
	char bytes[131072];
	size_t size = in->size < sizeof bytes ? in->size : sizeof bytes;
	ssize_t got = pread(node->fd, bytes, size, in->offset);
	answer(m, unique, got < 0 ? errno : 0, bytes, got < 0 ? 0 : got);
}

static void hold(struct mount *m, struct node *node, uint64_t unique, const struct fuse_read_in *in)
{
	int n = node->holding++;
	CHECK(n < 16);
	node->held[n] = unique;
	node->held_is_read[n] = in != NULL;
	if (in)
		node->held_read[n] = *in;
	pthread_cond_broadcast(&m->changed);
}

static void serve_one(struct mount *m, struct fuse_in_header *header, void *body)
{
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct open_out open;
		struct init_out init;
		struct fuse_statfs_out statfs;
	} out;
	struct node *node = header->nodeid >= 2 ? &m->node[header->nodeid - 2] : NULL;

	memset(&out, 0, sizeof out);
	switch (header->opcode) {
	case FUSE_INIT: {
		struct { uint32_t major, minor, readahead, flags, flags2; } *in = body;
		uint64_t want = INIT_EXT | INIT_PASSTHROUGH | (m->ask_rebind ? INIT_REBIND : 0);
		m->offered = in->flags | (uint64_t)in->flags2 << 32;
		want &= m->offered;
		out.init.major = 7;
		out.init.minor = in->minor;
		out.init.max_readahead = in->readahead;
		out.init.flags = (uint32_t)want;
		out.init.flags2 = want >> 32;
		out.init.max_write = 131072;
		out.init.max_stack_depth = 1;
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
		attributes(m, out.entry.nodeid, &out.entry.attr);
		answer(m, header->unique, 0, &out.entry, sizeof out.entry);
		break;
	}
	case FUSE_SETATTR: {
		struct fuse_setattr_in *in = body;
		if (node && in->valid & FATTR_SIZE)
			CHECK(ftruncate(node->fd, in->size) == 0);
	} // fall through
	case FUSE_GETATTR:
		attributes(m, header->nodeid, &out.attr.attr);
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

static void *serve(void *data)
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

static void mount_it(struct mount *m, const char *name, bool ask_rebind)
{
	char options[64];
	snprintf(m->dir, sizeof m->dir, "%s/%s", work, name);
	CHECK(mkdir(m->dir, 0755) == 0);
	m->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	CHECK(m->dev >= 0);
	m->ask_rebind = ask_rebind;
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->changed, NULL);
	for (int i = 0; i < NODES; i++)
		m->node[i].fd = -1;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", m->dev);
	CHECK(mount("test", m->dir, "fuse", 0, options) == 0);
	CHECK(pthread_create(&m->thread, NULL, serve, m) == 0);
	pthread_mutex_lock(&m->mutex);
	while (!m->ready)
		pthread_cond_wait(&m->changed, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
	if (ask_rebind && !(m->offered & INIT_REBIND))
		FAIL("the kernel does not offer FUSE_PASSTHROUGH_REBIND");
}

static void wait_held(struct mount *m, struct node *node, int count)
{
	pthread_mutex_lock(&m->mutex);
	while (node->holding < count)
		pthread_cond_wait(&m->changed, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
}

// What waits goes on, and nothing will wait any more.
static void let_go(struct mount *m, struct node *node)
{
	pthread_mutex_lock(&m->mutex);
	node->hold_opens = node->hold_reads = false;
	for (int i = 0; i < node->holding; i++) {
		struct open_out out;
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

/* ---- what tests are made of ---- */

static struct mount outer, inner;

static int filled(const char *name, char with, size_t size)
{
	int fd = new_file(name);
	char *bytes = malloc(size);
	memset(bytes, with, size);
	CHECK(write(fd, bytes, size) == (ssize_t)size);
	free(bytes);
	return fd;
}

static struct node *add(struct mount *m, int index, int fd, bool passes)
{
	pthread_mutex_lock(&m->mutex);
	m->node[index].fd = fd;
	m->node[index].passes = passes;
	pthread_mutex_unlock(&m->mutex);
	return &m->node[index];
}

static int try_open(struct mount *m, int index, int flags)
{
	char path[300];
	snprintf(path, sizeof path, "%s/%d", m->dir, index);
	return open(path, flags | O_CLOEXEC);
}

static int open_at(struct mount *m, int index, int flags)
{
	int fd = try_open(m, index, flags);
	if (fd < 0)
		FAIL("open of %s/%d: %s", m->dir, index, strerror(errno));
	return fd;
}

// The byte of which the first `size` are all; '?': not all the same, '-': an error or too few.
static char content(int fd, size_t size)
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

static void start(void)
{
	mount_it(&outer, "outer", true);
}

/* ---- the tests ---- */

static void reader_follows(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 10000), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	EQUAL(content(reader, 10000), 'o');
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 10000)), 0);
	EQUAL(content(reader, 10000), 'n');
	// and once more, by the same id
	EQUAL(rebind(&outer, node->id, filled("third", '3', 10000)), 0);
	EQUAL(content(reader, 10000), '3');
}

static void position_stays(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 10000), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	char bytes[100];
	EQUAL(read(reader, bytes, 100), 100);
	int fd = new_file("new");
	for (int i = 0; i < 5000; i++)
		dprintf(fd, "%04d", i);
	EQUAL(rebind(&outer, node->id, fd), 0);
	EQUAL(read(reader, bytes, 4), 4);
	CHECK(memcmp(bytes, "0025", 4) == 0);
}

static void two_readers(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int first = open_at(&outer, 0, O_RDONLY);
	int second = open_at(&outer, 0, O_RDONLY | O_NOATIME);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	EQUAL(content(first, 4096), 'n');
	EQUAL(content(second, 4096), 'n');
	close(first);
	EQUAL(content(second, 4096), 'n');
}

static void two_inodes_by_one_id(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int first = open_at(&outer, 0, O_RDONLY);
	add(&outer, 1, node->fd, true)->id = node->id;
	int second = open_at(&outer, 1, O_RDONLY);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	EQUAL(content(first, 4096), 'n');
	EQUAL(content(second, 4096), 'n');
}

static void other_ids_stay(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	add(&outer, 1, filled("other", 'x', 4096), true);
	int first = open_at(&outer, 0, O_RDONLY);
	int second = open_at(&outer, 1, O_RDONLY);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	EQUAL(content(first, 4096), 'n');
	EQUAL(content(second, 4096), 'x');
}

static void later_opens_share(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	int later = open_at(&outer, 0, O_RDONLY);
	EQUAL(content(later, 4096), 'n');
	int writer = open_at(&outer, 0, O_RDWR);
	CHECK(pwrite(writer, "wwww", 4, 0) == 4);
	EQUAL(content(reader, 4), 'w');
	EQUAL(content(later, 4), 'w');
	EQUAL(content(writer, 4), 'w');
}

static void before_any_open(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	close(open_at(&outer, 0, O_RDONLY));
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	EQUAL(content(open_at(&outer, 0, O_RDONLY), 4096), 'n');
}

static void copy_up_at_open(void)
{
	start();
	int lower = filled("lower", 'o', 8192);
	add(&outer, 0, lower, true)->lower = true;
	int reader = open_at(&outer, 0, O_RDONLY);
	int writer = open_at(&outer, 0, O_RDWR);
	EQUAL(outer.rebound, 0);
	EQUAL(content(reader, 8192), 'o');
	CHECK(pwrite(writer, "wwww", 4, 0) == 4);
	EQUAL(content(reader, 4), 'w');
	EQUAL(content(lower, 8192), 'o');
	// Truncating goes to the copy, too.
	CHECK(ftruncate(writer, 2) == 0);
	char bytes[16];
	EQUAL(pread(reader, bytes, 16, 0), 2);
}

static void splice_follows(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY), ends[2], out = new_file("out");
	CHECK(pipe(ends) == 0);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	loff_t at = 0;
	char bytes[8];
	EQUAL(splice(reader, &at, ends[1], NULL, 8, 0), 8);
	EQUAL(read(ends[0], bytes, 8), 8);
	CHECK(memcmp(bytes, "nnnnnnnn", 8) == 0);
	off_t from = 0;
	EQUAL(sendfile(out, reader, &from, 4096), 4096);
	EQUAL(content(out, 4096), 'n');
}

static void mappings(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 8192), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	char *before = mmap(NULL, 8192, PROT_READ, MAP_SHARED, reader, 0);
	CHECK(before != MAP_FAILED);
	EQUAL(before[0], 'o');		// the second page is not touched yet
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 8192)), 0);
	EQUAL(before[0], 'o');
	EQUAL(before[4096], 'o');
	char *after = mmap(NULL, 8192, PROT_READ, MAP_SHARED, reader, 0);
	CHECK(after != MAP_FAILED);
	EQUAL(after[0], 'n');
	munmap(before, 8192);
	close(reader);
	EQUAL(after[4096], 'n');
}

static void old_file_is_let_go(void)
{
	start();
	char dir[300];
	snprintf(dir, sizeof dir, "%s/old", work);
	CHECK(mkdir(dir, 0755) == 0);
	CHECK(mount("old", dir, "tmpfs", 0, NULL) == 0);
	struct node *node = add(&outer, 0, filled("old/f", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	EQUAL(content(reader, 4096), 'o');
	int old = node->fd;
	int fd = filled("new", 'n', 4096);
	EQUAL(rebind(&outer, node->id, fd), 0);
	node->fd = fd;
	close(old);
	// No read has come since.
	CHECK(umount(dir) == 0);
	EQUAL(content(reader, 4096), 'n');
}

struct job { int fd; size_t size; char found; };

static void *read_job(void *data)
{
	struct job *job = data;
	job->found = content(job->fd, job->size);
	return NULL;
}

static void read_in_flight(void)
{
	start();
	mount_it(&inner, "inner", false);
	struct node *slow = add(&inner, 0, filled("old", 'o', 65536), false);
	struct node *node = add(&outer, 0, open_at(&inner, 0, O_RDONLY), true);
	int first = open_at(&outer, 0, O_RDONLY);
	int second = open_at(&outer, 0, O_RDONLY);
	slow->hold_reads = true;
	struct job job = {first, 65536, 0};
	pthread_t thread;
	pthread_create(&thread, NULL, read_job, &job);
	wait_held(&inner, slow, 1);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 65536)), 0);
	// Neither the rebinding nor others wait for it, not even on the same descriptor.
	EQUAL(content(second, 65536), 'n');
	EQUAL(content(first, 65536), 'n');
	close(second);
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	EQUAL(job.found, 'o');
	EQUAL(content(first, 65536), 'n');
}

static void closed_while_read(void)
{
	start();
	mount_it(&inner, "inner", false);
	struct node *slow = add(&inner, 0, filled("old", 'o', 4096), false);
	int slow_fd = open_at(&inner, 0, O_RDONLY);
	struct node *node = add(&outer, 0, slow_fd, true);
	int first = open_at(&outer, 0, O_RDONLY);
	slow->hold_reads = true;
	struct job job = {first, 4096, 0};
	pthread_t thread;
	pthread_create(&thread, NULL, read_job, &job);
	wait_held(&inner, slow, 1);
	close(first);
	int fd = filled("new", 'n', 4096);
	EQUAL(rebind(&outer, node->id, fd), 0);
	node->fd = fd;
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	EQUAL(job.found, 'o');
	EQUAL(content(open_at(&outer, 0, O_RDONLY), 4096), 'n');
}

static void failure_moves_nothing(void)
{
	start();
	mount_it(&inner, "inner", false);
	struct node *fails = add(&inner, 0, filled("new", 'n', 4096), false);
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader[4];
	for (int i = 0; i < 4; i++)
		reader[i] = open_at(&outer, 0, O_RDONLY);
	int fd = open_at(&inner, 0, O_RDONLY);
	fails->fail_open = fails->opens + 3;
	EQUAL(rebind(&outer, node->id, fd), EIO);
	for (int i = 0; i < 4; i++)
		EQUAL(content(reader[i], 4096), 'o');
	EQUAL(rebind(&outer, node->id, fd), 0);
	for (int i = 0; i < 4; i++)
		EQUAL(content(reader[i], 4096), 'n');
}

struct move { int id, fd, result; };

static void *move_job(void *data)
{
	struct move *move = data;
	move->result = rebind(&outer, move->id, move->fd);
	return NULL;
}

// While the new file is being opened for the second of three readers, that one is closed, and
// another comes.
static void open_and_close_meanwhile(void)
{
	start();
	mount_it(&inner, "inner", false);
	struct node *slow = add(&inner, 0, filled("new", 'n', 4096), false);
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader[3];
	for (int i = 0; i < 3; i++)
		reader[i] = open_at(&outer, 0, O_RDONLY);
	struct move move = {node->id, open_at(&inner, 0, O_RDONLY), -1};
	slow->hold_opens = true;
	pthread_t thread;
	pthread_create(&thread, NULL, move_job, &move);
	wait_held(&inner, slow, 1);
	close(reader[0]);
	int other = open_at(&outer, 0, O_RDONLY);
	EQUAL(content(other, 4096), 'o');
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	EQUAL(move.result, 0);
	EQUAL(content(reader[1], 4096), 'n');
	EQUAL(content(reader[2], 4096), 'n');
	EQUAL(content(other, 4096), 'n');
}

static void writable_is_busy(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int fd = filled("new", 'n', 4096);
	int reader = open_at(&outer, 0, O_RDONLY);
	int writer = open_at(&outer, 0, O_WRONLY);
	EQUAL(rebind(&outer, node->id, fd), EBUSY);
	EQUAL(content(reader, 4096), 'o');
	CHECK(pwrite(writer, "ww", 2, 0) == 2);
	close(writer);
	// A mapping may be left.
	EQUAL(rebind(&outer, node->id, fd), EBUSY);
	EQUAL(content(reader, 2), 'w');
}

// An open for writing that comes while the new file is being opened.
static void writer_meanwhile(void)
{
	start();
	mount_it(&inner, "inner", false);
	struct node *slow = add(&inner, 0, filled("new", 'n', 4096), false);
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	struct move move = {node->id, open_at(&inner, 0, O_RDONLY), -1};
	slow->hold_opens = true;
	pthread_t thread;
	pthread_create(&thread, NULL, move_job, &move);
	wait_held(&inner, slow, 1);
	int writer = open_at(&outer, 0, O_WRONLY);
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	EQUAL(move.result, EBUSY);
	CHECK(pwrite(writer, "ww", 2, 0) == 2);
	EQUAL(content(reader, 2), 'w');
}

static void refused_files(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY), ends[2];
	int fd = filled("new", 'n', 4096);
	CHECK(pipe(ends) == 0);
	EQUAL(rebind(&outer, node->id, open(work, O_RDONLY | O_DIRECTORY)), EISDIR);
	EQUAL(rebind(&outer, node->id, ends[0]), EINVAL);
	EQUAL(rebind(&outer, node->id, open("/dev/null", O_RDWR)), EINVAL);
	EQUAL(rebind(&outer, node->id, 999), EBADF);
	EQUAL(rebind(&outer, node->id, -1), EBADF);
	EQUAL(rebind(&outer, node->id, reader), ELOOP);
	EQUAL(rebind(&outer, node->id + 1, fd), ENOENT);
	EQUAL(rebind(&outer, 0, fd), ENOENT);
	EQUAL(rebind(&outer, -1, fd), ENOENT);
	struct rebind arg = {.id = node->id, .fd = fd, .flags = 1};
	CHECK(ioctl(outer.dev, IOC_REBIND, &arg) == -1 && errno == EINVAL);
	arg = (struct rebind){.id = node->id, .fd = fd, .padding = 1};
	CHECK(ioctl(outer.dev, IOC_REBIND, &arg) == -1 && errno == EINVAL);
	CHECK(ioctl(outer.dev, IOC_REBIND, NULL) == -1 && errno == EFAULT);
	EQUAL(content(reader, 4096), 'o');
	uint32_t id = node->id;
	CHECK(ioctl(outer.dev, IOC_CLOSE, &id) == 0);
	EQUAL(rebind(&outer, node->id, fd), ENOENT);
	EQUAL(content(reader, 4096), 'o');
}

static void other_connection(void)
{
	start();
	mount_it(&inner, "inner", true);
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	EQUAL(rebind(&inner, node->id, filled("new", 'n', 4096)), ENOENT);
	EQUAL(content(reader, 4096), 'o');
}

static void unprivileged(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY), status;
	int fd = filled("new", 'n', 4096);
	pid_t child = fork();
	if (child == 0) {
		CHECK(setresuid(65534, 65534, 65534) == 0);
		_exit(rebind(&outer, node->id, fd));
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status));
	EQUAL(WEXITSTATUS(status), EPERM);
	// Nor does a user namespace of one's own help.
	child = fork();
	if (child == 0) {
		if (setresuid(65534, 65534, 65534) || unshare(CLONE_NEWUSER))
			_exit(EPERM);	// none to be had
		_exit(rebind(&outer, node->id, fd));
	}
	CHECK(waitpid(child, &status, 0) == child);
	EQUAL(WEXITSTATUS(status), EPERM);
	EQUAL(content(reader, 4096), 'o');
}

static void not_agreed_on(void)
{
	mount_it(&outer, "outer", false);
	if (!(outer.offered & INIT_REBIND))
		FAIL("the kernel does not offer FUSE_PASSTHROUGH_REBIND");
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), EOPNOTSUPP);
	EQUAL(content(reader, 4096), 'o');
}

static void many_readers(void)
{
	enum { COUNT = 900 };
	static int reader[COUNT];
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	for (int i = 0; i < COUNT; i++)
		reader[i] = open_at(&outer, 0, O_RDONLY);
	int fd = filled("new", 'n', 4096);
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	EQUAL(rebind(&outer, node->id, fd), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	for (int i = 0; i < COUNT; i++)
		EQUAL(content(reader[i], 4096), 'n');
	printf("note %s: %d open files moved in %ld us\n", test_name, COUNT,
	       (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
}

/* ---- under load ---- */

static atomic_bool stop;
static atomic_int published;	// the version that the last complete rebind published
static atomic_long reads_done, opens_done;
enum { LOAD_SIZE = 49152 };

static unsigned seed_of(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

// One version's file is full of that version's number. A read has one version throughout, none that
// is older than what was published before it began, nor than what this reader saw before.
static void check_read(int fd, unsigned *state, int *seen, bool by_splice)
{
	static _Thread_local uint32_t words[LOAD_SIZE / 4];
	size_t size = (seed_of(state) % (LOAD_SIZE / 4) + 1) * 4;
	off_t at = size == LOAD_SIZE ? 0 : seed_of(state) % ((LOAD_SIZE - size) / 4 + 1) * 4;
	int floor = atomic_load(&published);
	if (floor < *seen)
		floor = *seen;
	ssize_t got;
	if (by_splice) {
		static _Thread_local int ends[2] = {-1, -1};
		if (ends[0] < 0)
			CHECK(pipe(ends) == 0);
		loff_t from = at;
		got = splice(fd, &from, ends[1], NULL, size < 4096 ? size : 4096, 0);
		CHECK(got > 0);
		EQUAL(read(ends[0], words, got), got);
	} else {
		got = pread(fd, words, size, at);
		EQUAL(got, (ssize_t)size);
	}
	for (ssize_t i = 1; i < got / 4; i++)
		if (words[i] != words[0])
			FAIL("torn: version %u at 0, %u at %zd", words[0], words[i], i * 4);
	if ((int)words[0] < floor)
		FAIL("version %u after %d", words[0], floor);
	*seen = words[0];
	atomic_fetch_add(&reads_done, 1);
}

static void *load_reader(void *data)
{
	unsigned state = 77 + (unsigned)(uintptr_t)data;
	int fd = open_at(&outer, 0, O_RDONLY), seen = 0;
	while (!atomic_load(&stop))
		check_read(fd, &state, &seen, seed_of(&state) % 8 == 0);
	close(fd);
	return NULL;
}

static void *load_opener(void *data)
{
	unsigned state = 99 + (unsigned)(uintptr_t)data;
	int seen = 0;
	while (!atomic_load(&stop)) {
		int fd = open_at(&outer, 0, O_RDONLY);
		check_read(fd, &state, &seen, false);
		close(fd);
		atomic_fetch_add(&opens_done, 1);
	}
	return NULL;
}

static void *load_mapper(void *data)
{
	int fd = open_at(&outer, 0, O_RDONLY);
	int seen = 0;
	(void)data;
	while (!atomic_load(&stop)) {
		int floor = atomic_load(&published);
		uint32_t *words = mmap(NULL, LOAD_SIZE, PROT_READ, MAP_SHARED, fd, 0);
		CHECK(words != MAP_FAILED);
		uint32_t first = words[0];
		for (int i = 0; i < LOAD_SIZE / 4; i += 512)
			if (words[i] != first)
				FAIL("torn mapping: %u, %u", first, words[i]);
		if ((int)first < floor || (int)first < seen)
			FAIL("mapped version %u after %d", first, floor);
		seen = first;
		munmap(words, LOAD_SIZE);
	}
	close(fd);
	return NULL;
}

static void load_versions(void)
{
	enum { THREADS = 8, VERSIONS = 2000 };
	static uint32_t words[LOAD_SIZE / 4];
	pthread_t thread[THREADS];
	const char *limit = getenv("REBIND_LOAD_MS");
	long milliseconds = limit ? atol(limit) : 3000;
	struct timespec from, now;
	start();
	struct node *node = add(&outer, 0, new_file("v0"), true);
	CHECK(write(node->fd, words, LOAD_SIZE) == LOAD_SIZE);
	int keep = open_at(&outer, 0, O_RDONLY);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL,
			       i < 4 ? load_reader : i < 7 ? load_opener : load_mapper, (void *)i);
	clock_gettime(CLOCK_MONOTONIC, &from);
	int version = 0;
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		long spent = (now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000;
		if (spent > milliseconds || version >= VERSIONS)
			break;
		char name[32], old[300];
		version++;
		snprintf(name, sizeof name, "v%d", version);
		int fd = new_file(name);
		for (int i = 0; i < LOAD_SIZE / 4; i++)
			words[i] = version;
		CHECK(write(fd, words, LOAD_SIZE) == LOAD_SIZE);
		EQUAL(rebind(&outer, node->id, fd), 0);
		atomic_store(&published, version);
		pthread_mutex_lock(&outer.mutex);
		close(node->fd);
		node->fd = fd;
		pthread_mutex_unlock(&outer.mutex);
		snprintf(old, sizeof old, "%s/v%d", work, version - 1);
		unlink(old);
		if (version % 16 == 0)
			usleep(1000);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	uint32_t word;
	CHECK(pread(keep, &word, 4, 0) == 4);
	EQUAL(word, version);
	printf("note %s: %d rebinds, %ld reads, %ld opens\n", test_name, version,
	       atomic_load(&reads_done), atomic_load(&opens_done));
	CHECK(atomic_load(&reads_done) > 100 && version > 10);
}

// As fsx does it: one copy-up after the other, each amid random writes, truncations and reads, that are compared with a
// model through descriptors that are older than the copy-up and newer than it.
static void load_copy_up(void)
{
	enum { MAX = 200000, OPERATIONS = 150 };
	static char model[MAX], bytes[MAX];
	unsigned state = 4711;
	const char *limit = getenv("REBIND_LOAD_ROUNDS");
	int rounds = limit ? atoi(limit) : 40;
	start();
	for (int round = 0; round < rounds; round++) {
		size_t size = seed_of(&state) % (MAX / 2) + 1;
		char path[300];
		int index = round % NODES;
		struct node *node = &outer.node[index];
		for (size_t i = 0; i < size; i++)
			model[i] = seed_of(&state);
		int lower = new_file("lower");
		CHECK(write(lower, model, size) == (ssize_t)size);
		pthread_mutex_lock(&outer.mutex);
		if (node->id) {
			uint32_t id = node->id;
			CHECK(ioctl(outer.dev, IOC_CLOSE, &id) == 0);
			close(node->fd);
		}
		*node = (struct node){.fd = lower, .passes = true, .lower = true};
		pthread_mutex_unlock(&outer.mutex);
		int old[3], writer = -1, newer = -1;
		for (int i = 0; i < 3; i++)
			old[i] = open_at(&outer, index, O_RDONLY);
		size_t lower_size = size;
		for (int step = 0; step < OPERATIONS; step++) {
			unsigned what = seed_of(&state) % 10;
			size_t at = seed_of(&state) % MAX, length = seed_of(&state) % 20000 + 1;
			if (at + length > MAX)
				length = MAX - at;
			if (writer < 0 && step > 20) {
				writer = open_at(&outer, index, O_RDWR);
				newer = open_at(&outer, index, O_RDONLY);
				EQUAL(outer.rebound, 0);
			}
			if (writer >= 0 && what < 4) {
				for (size_t i = 0; i < length; i++)
					bytes[i] = seed_of(&state);
				CHECK(pwrite(writer, bytes, length, at) == (ssize_t)length);
				if (at > size)
					memset(model + size, 0, at - size);
				memcpy(model + at, bytes, length);
				if (at + length > size)
					size = at + length;
			} else if (writer >= 0 && what == 4) {
				CHECK(ftruncate(writer, at) == 0);
				if (at > size)
					memset(model + size, 0, at - size);
				size = at;
			} else {
				int fd = what == 5 && newer >= 0 ? newer : old[what % 3];
				ssize_t want = at >= size ? 0 : at + length > size ? size - at : length;
				EQUAL(pread(fd, bytes, length, at), want);
				CHECK(memcmp(bytes, model + at, want) == 0);
			}
		}
		struct stat stat;
		CHECK(fstat(old[0], &stat) == 0);
		EQUAL(stat.st_size, (long long)size);
		CHECK(fstat(lower, &stat) == 0);
		EQUAL(stat.st_size, (long long)lower_size);
		for (int i = 0; i < 3; i++)
			close(old[i]);
		close(writer);
		close(newer);
		close(lower);
		snprintf(path, sizeof path, "%s/lower", work);
		unlink(path);
	}
	printf("note %s: %d copy-ups of %d operations\n", test_name, rounds, OPERATIONS);
}

static const struct { const char *name; void (*run)(void); } tests[] = {
#define TEST(name) {#name, name}
	TEST(reader_follows), TEST(position_stays), TEST(two_readers), TEST(two_inodes_by_one_id),
	TEST(other_ids_stay), TEST(later_opens_share), TEST(before_any_open), TEST(copy_up_at_open),
	TEST(splice_follows), TEST(mappings), TEST(old_file_is_let_go), TEST(read_in_flight),
	TEST(closed_while_read), TEST(failure_moves_nothing), TEST(open_and_close_meanwhile),
	TEST(writable_is_busy), TEST(writer_meanwhile), TEST(refused_files), TEST(other_connection),
	TEST(unprivileged), TEST(not_agreed_on), TEST(many_readers), TEST(load_versions),
	TEST(load_copy_up),
};

static void detach_mounts(void)
{
	char path[300];
	const char *names[] = {"outer", "inner", "old"};
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", work, names[i]);
		umount2(path, MNT_FORCE);
		umount2(path, MNT_DETACH);
	}
}

int main(int count, char **words)
{
	int failed = 0, run = 0;
	if (count < 2) {
		fprintf(stderr, "usage: %s DIRECTORY [TEST...]\n", words[0]);
		return 2;
	}
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		bool wanted = count == 2;
		for (int w = 2; w < count; w++)
			wanted |= strcmp(words[w], tests[i].name) == 0;
		if (!wanted)
			continue;
		static char dir[256];
		snprintf(dir, sizeof dir, "%s/%s", words[1], tests[i].name);
		mkdir(dir, 0755);
		work = dir;
		test_name = tests[i].name;
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			signal(SIGALRM, SIG_DFL);
			alarm(60);
			tests[i].run();
			printf("ok %s\n", test_name);
			fflush(stdout);
			// Files of one's own mount, closed at exit after its server is gone, wait for ever.
			detach_mounts();
			_exit(0);
		}
		int status = -1;
		for (int waited = 0; waitpid(child, &status, WNOHANG) == 0; waited++) {
			usleep(10000);
			if (waited == 6500)
				detach_mounts();	// it hangs: the servers' connections end
		}
		detach_mounts();
		run++;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			if (!WIFEXITED(status))
				printf("FAIL %s: ended by signal %d\n", test_name, WTERMSIG(status));
			failed++;
		}
	}
	printf("rebind: %d of %d passed\n", run - failed, run);
	return failed ? 1 : 0;
}
