// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rebinding (patch 4): what docs/kernel-rebind.md promises of FUSE_DEV_IOC_BACKING_REBIND.
 */
#define _GNU_SOURCE
#include "rebinding.h"

#include <linux/aio_abi.h>
#include <sys/syscall.h>

static struct mount inner;

static void reader_follows(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 10000), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(content(reader, 10000), 'o');
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 10000)), 0);
	CHECK_EQUAL(content(reader, 10000), 'n');
	/* and once more, by the same id */
	CHECK_EQUAL(rebind(&outer, node->id, filled("third", '3', 10000)), 0);
	CHECK_EQUAL(content(reader, 10000), '3');
}

static void position_stays(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 10000), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	char bytes[100];
	CHECK_EQUAL(read(reader, bytes, 100), 100);
	int fd = new_file("new");
	for (int i = 0; i < 5000; i++)
		dprintf(fd, "%04d", i);
	CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
	CHECK_EQUAL(read(reader, bytes, 4), 4);
	CHECK(memcmp(bytes, "0025", 4) == 0);
}

static void two_readers(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int first = open_at(&outer, 0, O_RDONLY);
	int second = open_at(&outer, 0, O_RDONLY | O_NOATIME);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	CHECK_EQUAL(content(first, 4096), 'n');
	CHECK_EQUAL(content(second, 4096), 'n');
	close(first);
	CHECK_EQUAL(content(second, 4096), 'n');
}

static void two_inodes_by_one_id(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int first = open_at(&outer, 0, O_RDONLY);
	add(&outer, 1, node->fd, true)->id = node->id;
	int second = open_at(&outer, 1, O_RDONLY);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	CHECK_EQUAL(content(first, 4096), 'n');
	CHECK_EQUAL(content(second, 4096), 'n');
}

static void other_ids_stay(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	add(&outer, 1, filled("other", 'x', 4096), true);
	int first = open_at(&outer, 0, O_RDONLY);
	int second = open_at(&outer, 1, O_RDONLY);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	CHECK_EQUAL(content(first, 4096), 'n');
	CHECK_EQUAL(content(second, 4096), 'x');
}

static void later_opens_share(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	int later = open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(content(later, 4096), 'n');
	int writer = open_at(&outer, 0, O_RDWR);
	CHECK(pwrite(writer, "wwww", 4, 0) == 4);
	CHECK_EQUAL(content(reader, 4), 'w');
	CHECK_EQUAL(content(later, 4), 'w');
	CHECK_EQUAL(content(writer, 4), 'w');
}

static void before_any_open(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	close(open_at(&outer, 0, O_RDONLY));
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	CHECK_EQUAL(content(open_at(&outer, 0, O_RDONLY), 4096), 'n');
}

static void copy_up_at_open(void)
{
	start();
	int lower = filled("lower", 'o', 8192);
	add(&outer, 0, lower, true)->lower = true;
	int reader = open_at(&outer, 0, O_RDONLY);
	int writer = open_at(&outer, 0, O_RDWR);
	CHECK_EQUAL(outer.rebound, 0);
	CHECK_EQUAL(content(reader, 8192), 'o');
	CHECK(pwrite(writer, "wwww", 4, 0) == 4);
	CHECK_EQUAL(content(reader, 4), 'w');
	CHECK_EQUAL(content(lower, 8192), 'o');
	/* Truncating goes to the copy, too. */
	CHECK(ftruncate(writer, 2) == 0);
	char bytes[16];
	CHECK_EQUAL(pread(reader, bytes, 16, 0), 2);
}

static void second_id_moves(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	struct fuse_backing_map map = {.fd = node->fd};
	int first = open_at(&outer, 0, O_RDONLY), first_id = node->id;
	node->id = ioctl(outer.dev, FUSE_DEV_IOC_BACKING_OPEN, &map);
	CHECK(node->id > 0 && node->id != first_id);
	int second = open_at(&outer, 0, O_RDONLY);
	/* Both belong to the backing that the inode has. */
	CHECK_EQUAL(rebind(&outer, first_id, filled("new", 'n', 4096)), 0);
	CHECK_EQUAL(content(first, 4096), 'n');
	CHECK_EQUAL(content(second, 4096), 'n');
	/* The second id still is of the old file. */
	CHECK_ERROR(try_open(&outer, 0, O_RDONLY), EIO);
	node->id = first_id;
	CHECK_EQUAL(content(open_at(&outer, 0, O_RDONLY), 4096), 'n');
}

static void id_0_is_the_new_file(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	node->reuses = true;
	int writer = open_at(&outer, 0, O_RDWR);
	CHECK_EQUAL(content(writer, 4096), 'n');
	CHECK_EQUAL(rebind(&outer, node->id, filled("third", '3', 4096)), EBUSY);
}

static void splice_follows(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY), ends[2], out = new_file("out");
	CHECK(pipe(ends) == 0);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), 0);
	loff_t at = 0;
	char bytes[8];
	CHECK_EQUAL(splice(reader, &at, ends[1], NULL, 8, 0), 8);
	CHECK_EQUAL(read(ends[0], bytes, 8), 8);
	CHECK(memcmp(bytes, "nnnnnnnn", 8) == 0);
	off_t from = 0;
	CHECK_EQUAL(sendfile(out, reader, &from, 4096), 4096);
	CHECK_EQUAL(content(out, 4096), 'n');
}

static void mappings(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 8192), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	char *before = mmap(NULL, 8192, PROT_READ, MAP_SHARED, reader, 0);
	CHECK(before != MAP_FAILED);
	CHECK_EQUAL(before[0], 'o');		/* the second page is not touched yet */
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 8192)), 0);
	CHECK_EQUAL(before[0], 'o');
	CHECK_EQUAL(before[4096], 'o');
	char *after = mmap(NULL, 8192, PROT_READ, MAP_SHARED, reader, 0);
	CHECK(after != MAP_FAILED);
	CHECK_EQUAL(after[0], 'n');
	munmap(before, 8192);
	close(reader);
	CHECK_EQUAL(after[4096], 'n');
}

static void old_file_is_let_go(void)
{
	start();
	CHECK(mkdir("/tmp/old", 0755) == 0);
	CHECK(mount("old", "/tmp/old", "tmpfs", 0, NULL) == 0);
	struct node *node = add(&outer, 0, filled("old/f", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(content(reader, 4096), 'o');
	int old = node->fd;
	int fd = filled("new", 'n', 4096);
	CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
	node->fd = fd;
	close(old);
	/* No read has come since. */
	CHECK(umount("/tmp/old") == 0);
	CHECK_EQUAL(content(reader, 4096), 'n');
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
	mount_it(&inner, "inner", PLAIN);
	struct node *slow = add(&inner, 0, filled("old", 'o', 65536), false);
	struct node *node = add(&outer, 0, open_at(&inner, 0, O_RDONLY), true);
	int first = open_at(&outer, 0, O_RDONLY);
	int second = open_at(&outer, 0, O_RDONLY);
	slow->hold_reads = true;
	struct job job = {first, 65536, 0};
	pthread_t thread;
	pthread_create(&thread, NULL, read_job, &job);
	wait_held(&inner, slow, 1);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 65536)), 0);
	/* Neither the rebinding nor others wait for it, not even on the same descriptor. */
	CHECK_EQUAL(content(second, 65536), 'n');
	CHECK_EQUAL(content(first, 65536), 'n');
	close(second);
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	CHECK_EQUAL(job.found, 'o');
	CHECK_EQUAL(content(first, 65536), 'n');
}

/* Nobody waits in the kernel for this one: it holds the file by itself. */
static void asynchronous_read(void)
{
	static char bytes[4096] __attribute__((aligned(4096)));
	aio_context_t context = 0;
	struct io_event event;

	start();
	mount_it(&inner, "inner", PLAIN);
	struct node *slow = add(&inner, 0, filled("old", 'o', 4096), false);
	struct node *node = add(&outer, 0, open_at(&inner, 0, O_RDONLY), true);
	int reader = open_at(&outer, 0, O_RDONLY | O_DIRECT);
	struct iocb request = {.aio_fildes = reader, .aio_lio_opcode = IOCB_CMD_PREAD,
			       .aio_buf = (uintptr_t)bytes, .aio_nbytes = sizeof bytes};
	struct iocb *requests[] = {&request};
	CHECK(syscall(SYS_io_setup, 1, &context) == 0);
	slow->hold_reads = true;
	CHECK_EQUAL(syscall(SYS_io_submit, context, 1, requests), 1);
	wait_held(&inner, slow, 1);
	int fd = filled("new", 'n', 4096);
	CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
	node->fd = fd;
	close(reader);
	let_go(&inner, slow);
	CHECK_EQUAL(syscall(SYS_io_getevents, context, 1, 1, &event, NULL), 1);
	CHECK_EQUAL(event.res, 4096);
	CHECK(bytes[0] == 'o' && bytes[4095] == 'o');
}

static void closed_while_read(void)
{
	start();
	mount_it(&inner, "inner", PLAIN);
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
	CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
	node->fd = fd;
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	CHECK_EQUAL(job.found, 'o');
	CHECK_EQUAL(content(open_at(&outer, 0, O_RDONLY), 4096), 'n');
}

static void failure_moves_nothing(void)
{
	start();
	mount_it(&inner, "inner", PLAIN);
	struct node *fails = add(&inner, 0, filled("new", 'n', 4096), false);
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader[4];
	for (int i = 0; i < 4; i++)
		reader[i] = open_at(&outer, 0, O_RDONLY);
	int fd = open_at(&inner, 0, O_RDONLY);
	fails->fail_open = fails->opens + 3;
	CHECK_EQUAL(rebind(&outer, node->id, fd), EIO);
	for (int i = 0; i < 4; i++)
		CHECK_EQUAL(content(reader[i], 4096), 'o');
	CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQUAL(content(reader[i], 4096), 'n');
}

struct move { int id, fd, result; };

static void *move_job(void *data)
{
	struct move *move = data;
	move->result = rebind(&outer, move->id, move->fd);
	return NULL;
}

/* While the new file is being opened for the second of three readers, that one is closed, and
 * another comes. */
static void open_and_close_meanwhile(void)
{
	start();
	mount_it(&inner, "inner", PLAIN);
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
	CHECK_EQUAL(content(other, 4096), 'o');
	let_go(&inner, slow);
	pthread_join(thread, NULL);
	CHECK_EQUAL(move.result, 0);
	CHECK_EQUAL(content(reader[1], 4096), 'n');
	CHECK_EQUAL(content(reader[2], 4096), 'n');
	CHECK_EQUAL(content(other, 4096), 'n');
}

static void writable_is_busy(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int fd = filled("new", 'n', 4096);
	int reader = open_at(&outer, 0, O_RDONLY);
	int writer = open_at(&outer, 0, O_WRONLY);
	CHECK_EQUAL(rebind(&outer, node->id, fd), EBUSY);
	CHECK_EQUAL(content(reader, 4096), 'o');
	CHECK(pwrite(writer, "ww", 2, 0) == 2);
	close(writer);
	/* A mapping may be left. */
	CHECK_EQUAL(rebind(&outer, node->id, fd), EBUSY);
	CHECK_EQUAL(content(reader, 2), 'w');
}

/* An open for writing that comes while the new file is being opened. */
static void writer_meanwhile(void)
{
	start();
	mount_it(&inner, "inner", PLAIN);
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
	CHECK_EQUAL(move.result, EBUSY);
	CHECK(pwrite(writer, "ww", 2, 0) == 2);
	CHECK_EQUAL(content(reader, 2), 'w');
}

static void refused_files(void)
{
	start();
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY), ends[2];
	int fd = filled("new", 'n', 4096);
	CHECK(pipe(ends) == 0);
	CHECK_EQUAL(rebind(&outer, node->id, open("/tmp", O_RDONLY | O_DIRECTORY)), EISDIR);
	CHECK_EQUAL(rebind(&outer, node->id, ends[0]), EINVAL);
	CHECK_EQUAL(rebind(&outer, node->id, open("/dev/null", O_RDWR)), EINVAL);
	CHECK_EQUAL(rebind(&outer, node->id, 999), EBADF);
	CHECK_EQUAL(rebind(&outer, node->id, -1), EBADF);
	CHECK_EQUAL(rebind(&outer, node->id, reader), ELOOP);
	CHECK_EQUAL(rebind(&outer, node->id + 1, fd), ENOENT);
	CHECK_EQUAL(rebind(&outer, 0, fd), ENOENT);
	CHECK_EQUAL(rebind(&outer, -1, fd), ENOENT);
	struct fuse_backing_rebind arg = {.backing_id = node->id, .fd = fd, .flags = 1};
	CHECK(ioctl(outer.dev, FUSE_DEV_IOC_BACKING_REBIND, &arg) == -1 && errno == EINVAL);
	arg = (struct fuse_backing_rebind){.backing_id = node->id, .fd = fd, .padding = 1};
	CHECK(ioctl(outer.dev, FUSE_DEV_IOC_BACKING_REBIND, &arg) == -1 && errno == EINVAL);
	CHECK(ioctl(outer.dev, FUSE_DEV_IOC_BACKING_REBIND, NULL) == -1 && errno == EFAULT);
	CHECK_EQUAL(content(reader, 4096), 'o');
	uint32_t id = node->id;
	CHECK(ioctl(outer.dev, FUSE_DEV_IOC_BACKING_CLOSE, &id) == 0);
	CHECK_EQUAL(rebind(&outer, node->id, fd), ENOENT);
	CHECK_EQUAL(content(reader, 4096), 'o');
}

static void other_connection(void)
{
	start();
	mount_it(&inner, "inner", REBINDS);
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(rebind(&inner, node->id, filled("new", 'n', 4096)), ENOENT);
	CHECK_EQUAL(content(reader, 4096), 'o');
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
	CHECK_EQUAL(WEXITSTATUS(status), EPERM);
	/* Nor does a user namespace of one's own help. */
	child = fork();
	if (child == 0) {
		if (setresuid(65534, 65534, 65534) || unshare(CLONE_NEWUSER))
			_exit(EPERM);	/* none to be had */
		_exit(rebind(&outer, node->id, fd));
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_EQUAL(WEXITSTATUS(status), EPERM);
	CHECK_EQUAL(content(reader, 4096), 'o');
}

static void not_agreed_on(void)
{
	mount_it(&outer, "outer", PASSES);
	if (!(outer.offered & FUSE_PASSTHROUGH_REBIND))
		FAIL("the kernel does not offer FUSE_PASSTHROUGH_REBIND");
	struct node *node = add(&outer, 0, filled("old", 'o', 4096), true);
	int reader = open_at(&outer, 0, O_RDONLY);
	CHECK_EQUAL(rebind(&outer, node->id, filled("new", 'n', 4096)), EOPNOTSUPP);
	CHECK_EQUAL(content(reader, 4096), 'o');
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
	double began = test_clock(), took;
	CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
	took = test_clock() - began;
	for (int i = 0; i < COUNT; i++)
		CHECK_EQUAL(content(reader[i], 4096), 'n');
	FIGURE("moving %d open files: %.0f us", COUNT, took * 1e6);
}

static const struct test tests[] = {
	{ "a reader reads the new file, and the one after that", NEEDS(4), reader_follows },
	{ "a reader goes on at its position", NEEDS(4), position_stays },
	{ "two readers of one inode move", NEEDS(4), two_readers },
	{ "two inodes by one id move", NEEDS(4), two_inodes_by_one_id },
	{ "what is open by another id stays", NEEDS(4), other_ids_stay },
	{ "opens after the rebind share, also for writing", NEEDS(4), later_opens_share },
	{ "an id is rebound while nothing is open by it", NEEDS(4), before_any_open },
	{ "a copy-up before an open for writing is answered", NEEDS(4), copy_up_at_open },
	{ "files of the same inode by another id move, too", NEEDS(1) | NEEDS(4), second_id_moves },
	{ "id 0 opens the new file", NEEDS(3) | NEEDS(4), id_0_is_the_new_file },
	{ "splice and sendfile read the new file", NEEDS(4), splice_follows },
	{ "a mapping keeps the old file, a later one has the new", NEEDS(4), mappings },
	{ "the old file system can be unmounted", NEEDS(4), old_file_is_let_go },
	{ "a read in flight ends with the old file and delays nobody", NEEDS(4), read_in_flight },
	{ "an asynchronous read in flight", NEEDS(4), asynchronous_read },
	{ "closed and rebound while it is being read", NEEDS(4), closed_while_read },
	{ "a failure to open for one reader moves none", NEEDS(4), failure_moves_nothing },
	{ "a reader goes and another comes during the rebind", NEEDS(4), open_and_close_meanwhile },
	{ "what was opened for writing is busy, also when it is closed", NEEDS(4), writable_is_busy },
	{ "an open for writing during the rebind makes it busy", NEEDS(4), writer_meanwhile },
	{ "wrong files, ids and arguments are refused", NEEDS(4), refused_files },
	{ "another connection's id is not reached", NEEDS(4), other_connection },
	{ "it takes CAP_SYS_ADMIN in the initial user namespace", NEEDS(4), unprivileged },
	{ "it is refused where the server did not ask for it", NEEDS(4), not_agreed_on },
	{ "nine hundred readers move", NEEDS(4), many_readers },
};

TEST_MAIN(tests)
