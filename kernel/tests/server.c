// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include "server.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WRITE = 128 << 10, BUFFER = MAX_WRITE + 4096, FIRST_NODE = 2 };

/* ---- Messages ---- */

void server_reply(struct server *server, uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + (error ? 0 : size)),
		.error = -error,
		.unique = unique,
	};
	struct iovec parts[] = {
		{ &header, sizeof(header) },
		{ (void *)data, error ? 0 : size },
	};

	/* ENOENT: the caller was killed meanwhile. */
	if (writev(server->device, parts, 2) < 0 && errno != ENOENT && errno != ENODEV)
		fprintf(stderr, "server: reply: %s\n", strerror(errno));
}

int server_notify(struct server *server, int code, const void *data, size_t size)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + size),
		.error = code,
	};
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)data, size } };

	return writev(server->device, parts, 2) < 0 ? -errno : 0;
}

static struct served_file *file_of(struct server *server, uint64_t node)
{
	uint64_t index = node - FIRST_NODE;

	return index < server->file_count ? &server->files[index] : NULL;
}

/* ---- Attributes ---- */

static void fill_attributes(uint64_t node, const struct stat *from, struct fuse_attr *to)
{
	*to = (struct fuse_attr){
		.ino = node,
		.size = (uint64_t)from->st_size,
		.blocks = (uint64_t)from->st_blocks,
		.atime = (uint64_t)from->st_atim.tv_sec,
		.mtime = (uint64_t)from->st_mtim.tv_sec,
		.ctime = (uint64_t)from->st_ctim.tv_sec,
		.atimensec = (uint32_t)from->st_atim.tv_nsec,
		.mtimensec = (uint32_t)from->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)from->st_ctim.tv_nsec,
		.mode = from->st_mode,
		.nlink = 1,
		.uid = from->st_uid,
		.gid = from->st_gid,
		.blksize = 4096,
	};
}

static void attributes(struct server *server, uint64_t node, struct fuse_attr_out *out)
{
	struct served_file *file = file_of(server, node);
	struct stat now = { .st_mode = S_IFDIR | 0777 };

	if (file)
		fstat(file->data, &now);
	*out = (struct fuse_attr_out){ .attr_valid = server->valid_seconds };
	fill_attributes(node, &now, &out->attr);
}

void server_entry(struct server *server, struct served_file *file, struct fuse_entry_out *out)
{
	uint64_t node = (uint64_t)(file - server->files) + FIRST_NODE;
	struct fuse_attr_out attr;

	attributes(server, node, &attr);
	*out = (struct fuse_entry_out){
		.nodeid = node,
		.generation = 1,
		.entry_valid = server->valid_seconds,
		.attr_valid = server->valid_seconds,
		.attr = attr.attr,
	};
}

void server_open_out(struct served_file *file, struct fuse_open_out *out)
{
	unsigned flags = atomic_load(&file->open_flags);

	*out = (struct fuse_open_out){
		.fh = atomic_fetch_add(&file->opens, 1) + 1,
		.open_flags = flags,
		.backing_id = flags & FOPEN_PASSTHROUGH ? atomic_load(&file->backing_id) : 0,
	};
}

/* ---- Requests ---- */

uint64_t server_init_offered(const struct fuse_init_in *in)
{
	uint64_t offered = in->flags;

	if (offered & FUSE_INIT_EXT)
		offered |= (uint64_t)in->flags2 << 32;
	if (in->provisional_magic == FUSE_PROVISIONAL_MAGIC)
		offered |= (uint64_t)in->provisional << 32;
	return offered;
}

void server_init_agree(struct fuse_init_out *out, uint64_t agreed, uint32_t magic)
{
	out->flags = (uint32_t)agreed;
	out->flags2 = (uint32_t)(agreed >> 32);
	out->provisional_magic = magic;
	out->provisional = out->flags2;
}

static void answer_init(struct server *server, const struct fuse_in_header *in,
			const struct fuse_init_in *asked)
{
	uint64_t offered = server_init_offered(asked), agreed;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = asked->max_readahead,
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = MAX_WRITE,
		.time_gran = 1,
		.max_pages = MAX_WRITE / 4096,
		.max_stack_depth = server->stack_depth,
	};

	agreed = offered & (server->wanted | FUSE_INIT_EXT | FUSE_MAX_PAGES | FUSE_BIG_WRITES);
	server_init_agree(&out, agreed, server->magic);
	atomic_store(&server->offered_in_flags2, (uint64_t)asked->flags2 << 32);
	atomic_store(&server->offered, offered);
	server_reply(server, in->unique, 0, &out, sizeof(out));
}

static void answer_lookup(struct server *server, const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out;

	for (unsigned i = 0; i < server->file_count; i++) {
		if (strcmp(server->files[i].name, name) != 0)
			continue;
		server_entry(server, &server->files[i], &out);
		server_reply(server, in->unique, 0, &out, sizeof(out));
		return;
	}
	server_reply(server, in->unique, ENOENT, NULL, 0);
}

static void answer_getattr(struct server *server, const struct fuse_in_header *in)
{
	struct fuse_attr_out out;

	attributes(server, in->nodeid, &out);
	server_reply(server, in->unique, 0, &out, sizeof(out));
}

static void answer_setattr(struct server *server, const struct fuse_in_header *in,
			   const struct fuse_setattr_in *asked)
{
	struct served_file *file = file_of(server, in->nodeid);
	struct stat now;

	if (file) {
		atomic_fetch_add(&file->setattrs, 1);
		if (asked->valid & FATTR_MODE)
			fchmod(file->data, asked->mode & 07777);
		if (asked->valid & FATTR_SIZE)
			ftruncate(file->data, (off_t)asked->size);
		if (asked->valid & (FATTR_UID | FATTR_GID))
			fchown(file->data, asked->valid & FATTR_UID ? asked->uid : (uid_t)-1,
			       asked->valid & FATTR_GID ? asked->gid : (gid_t)-1);
		if (asked->valid & FATTR_KILL_SUIDGID && !fstat(file->data, &now))
			fchmod(file->data, now.st_mode & 01777);
	}
	answer_getattr(server, in);
}

static void answer_open(struct server *server, const struct fuse_in_header *in)
{
	struct served_file *file = file_of(server, in->nodeid);
	struct fuse_open_out out = { 0 };

	if (file)
		server_open_out(file, &out);
	server_reply(server, in->unique, 0, &out, sizeof(out));
}

static void answer_create(struct server *server, const struct fuse_in_header *in, const char *name)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;

	for (unsigned i = 0; i < server->file_count; i++) {
		if (strcmp(server->files[i].name, name) != 0)
			continue;
		server_entry(server, &server->files[i], &out.entry);
		server_open_out(&server->files[i], &out.open);
		server_reply(server, in->unique, 0, &out, sizeof(out));
		return;
	}
	server_reply(server, in->unique, EPERM, NULL, 0);
}

static void answer_read(struct server *server, const struct fuse_in_header *in,
			const struct fuse_read_in *asked)
{
	struct served_file *file = file_of(server, in->nodeid);
	char *data = malloc(asked->size);
	ssize_t got = pread(file->data, data, asked->size, (off_t)asked->offset);

	atomic_fetch_add(&file->reads, 1);
	server_reply(server, in->unique, got < 0 ? errno : 0, data, got < 0 ? 0 : (size_t)got);
	free(data);
}

/* Waits until as many writes are in flight as the test wants to see, or for hold_ms. */
static void hold(struct served_file *file)
{
	unsigned now = atomic_fetch_add(&file->in_flight, 1) + 1;
	unsigned most = atomic_load(&file->most_in_flight);
	unsigned ms = atomic_load(&file->hold_ms);

	while (now > most && !atomic_compare_exchange_weak(&file->most_in_flight, &most, now))
		;
	/* By the clock: where it is coarse, a short sleep takes several times as long. */
	for (double end = test_clock() + ms / 1e3; test_clock() < end; usleep(1000))
		if (atomic_load(&file->most_in_flight) >= atomic_load(&file->hold_writes))
			break;
}

static void answer_write(struct server *server, const struct fuse_in_header *in,
			 const struct fuse_write_in *asked)
{
	struct served_file *file = file_of(server, in->nodeid);
	struct fuse_write_out out = { 0 };
	ssize_t put;

	atomic_fetch_add(&file->writes, 1);
	hold(file);
	put = pwrite(file->data, asked + 1, asked->size, (off_t)asked->offset);
	out.size = put < 0 ? 0 : (uint32_t)put;
	/* Before the reply, which lets the next one in. */
	atomic_fetch_sub(&file->in_flight, 1);
	server_reply(server, in->unique, put < 0 ? errno : 0, &out, sizeof(out));
}

static void answer_readdir(struct server *server, const struct fuse_in_header *in,
			   const struct fuse_read_in *asked)
{
	char data[4096];
	size_t size = 0;

	for (uint64_t i = asked->offset; i < server->file_count; i++) {
		const char *name = server->files[i].name;
		size_t length = strlen(name), entry = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length);
		struct fuse_dirent *to = (struct fuse_dirent *)(data + size);

		if (size + entry > sizeof(data) || size + entry > asked->size)
			break;
		memset(to, 0, entry);
		to->ino = i + FIRST_NODE;
		to->off = i + 1;
		to->namelen = (uint32_t)length;
		to->type = DT_REG;
		memcpy(to->name, name, length);
		size += entry;
	}
	server_reply(server, in->unique, 0, data, size);
}

static void answer(struct server *server, const struct fuse_in_header *in)
{
	const void *argument = in + 1;
	struct served_file *file = file_of(server, in->nodeid);

	if (in->opcode < SERVER_OPCODES)
		atomic_fetch_add(&server->requests[in->opcode], 1);
	if (server->hook && server->hook(server, in, argument))
		return;
	switch (in->opcode) {
	case FUSE_INIT: answer_init(server, in, argument); break;
	case FUSE_LOOKUP: answer_lookup(server, in, argument); break;
	case FUSE_GETATTR: answer_getattr(server, in); break;
	case FUSE_SETATTR: answer_setattr(server, in, argument); break;
	case FUSE_OPENDIR:
	case FUSE_OPEN: answer_open(server, in); break;
	case FUSE_CREATE:
		answer_create(server, in, (const char *)argument + sizeof(struct fuse_create_in));
		break;
	case FUSE_READ: answer_read(server, in, argument); break;
	case FUSE_WRITE: answer_write(server, in, argument); break;
	case FUSE_READDIR: answer_readdir(server, in, argument); break;
	case FUSE_RELEASE:
		if (file)
			atomic_fetch_add(&file->releases, 1);
		/* fallthrough */
	case FUSE_RELEASEDIR:
	case FUSE_FSYNC: server_reply(server, in->unique, 0, NULL, 0); break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: break; /* have no answer */
	default: server_reply(server, in->unique, ENOSYS, NULL, 0);
	}
}

/* ---- The process ---- */

static void *serve(void *argument)
{
	struct server *server = argument;
	void *buffer = malloc(BUFFER);

	for (;;) {
		ssize_t got = read(server->device, buffer, BUFFER);

		if (got >= (ssize_t)sizeof(struct fuse_in_header))
			answer(server, buffer);
		else if (got < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
			_exit(0); /* unmounted */
	}
	return NULL;
}

enum { MAX_DESCRIPTORS = 1024 };

/* The descriptors that the child has inherited from the test and that are not the server's. */
static void list_inherited(const struct server *server, bool inherited[MAX_DESCRIPTORS])
{
	for (int fd = 0; fd < MAX_DESCRIPTORS; fd++)
		inherited[fd] = fd > 2 && fd != server->device && fcntl(fd, F_GETFD) >= 0;
	for (unsigned i = 0; i < server->file_count; i++)
		inherited[server->files[i].data] = false;
}

void server_start(struct server *server)
{
	bool inherited[MAX_DESCRIPTORS];
	pid_t parent = getpid(), child;

	fflush(NULL);
	child = fork();
	CHECK(child >= 0);
	if (child > 0) {
		server->process = child; /* not in the child: the memory is shared */
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	list_inherited(server, inherited);
	for (unsigned i = 0; i < server->threads; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, serve, server) == 0);
	}
	/* Some are open on the mount: closing them may wait for an answer of this very server. What
	 * its threads have opened meanwhile is not among them. */
	for (int fd = 0; fd < MAX_DESCRIPTORS; fd++)
		if (inherited[fd])
			close(fd);
	for (;;)
		pause();
}

void server_kill(struct server *server)
{
	kill(server->process, SIGKILL);
	waitpid(server->process, NULL, 0);
}

struct server *server_new(const char *mountpoint)
{
	struct server *server = mmap(NULL, sizeof(*server), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(server != MAP_FAILED);
	snprintf(server->mountpoint, sizeof(server->mountpoint), "%s", mountpoint);
	server->wanted = FUSE_PASSTHROUGH | FUSE_HANDLE_KILLPRIV_V2;
	server->magic = FUSE_PROVISIONAL_MAGIC;
	server->stack_depth = 1;
	server->valid_seconds = 3600;
	server->threads = 12;
	return server;
}

struct served_file *server_add(struct server *server, const char *name, int data)
{
	struct served_file *file = &server->files[server->file_count];

	CHECK(server->file_count < SERVER_FILES);
	CHECK(data >= 0);
	snprintf(file->name, sizeof(file->name), "%s", name);
	file->data = data;
	server->file_count++;
	return file;
}

void server_mount(struct server *server)
{
	char options[128];
	struct stat now;

	server->device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	CHECK(server->device >= 0);
	CHECK(mkdir(server->mountpoint, 0755) == 0 || errno == EEXIST);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
		 server->device);
	CHECK(mount("test", server->mountpoint, "fuse", 0, options) == 0);
	server_start(server);
	CHECK(stat(server->mountpoint, &now) == 0); /* waits for INIT */
}

void server_unmount(struct server *server)
{
	CHECK(umount2(server->mountpoint, 0) == 0);
	close(server->device);
	waitpid(server->process, NULL, 0);
}

int server_register_as(struct server *server, int fd, uint32_t flags)
{
	struct fuse_backing_map map = { .fd = fd, .flags = flags };
	int id = ioctl(server->device, FUSE_DEV_IOC_BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

int server_register(struct server *server, int fd)
{
	return server_register_as(server, fd, 0);
}

int server_unregister(struct server *server, int backing_id)
{
	uint32_t id = (uint32_t)backing_id;

	return ioctl(server->device, FUSE_DEV_IOC_BACKING_CLOSE, &id) ? -errno : 0;
}
