// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening without a round trip (patch 5, docs/kernel-open.md), on several processors: races, and
 * what it costs.
 */
#define _GNU_SOURCE
#include "attaching.h"

enum { OPENERS = 4, EACH = 1500, ROUNDS = 20 };
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
	for (unsigned round = 0; round < ROUNDS * test_times(); round++) {
		pthread_t threads[OPENERS];
		unsigned before = seen(FUSE_OPEN), ours;
		int fd, left;

		memset(held, -1, sizeof(held));
		atomic_store(&opened, 0);
		atomic_store(&going, 0);
		atomic_store(&taken, false);
		/* The first open attaches, as the id of its answer says; later asks get it too. */
		atomic_store(&plan->attach_open, READ);
		check_reads(fd = open(PATH, O_RDONLY));
		atomic_store(&plan->attach_open, 0);
		CHECK_EQUAL(seen(FUSE_OPEN), before + 1);
		for (int i = 0; i < OPENERS; i++)
			pthread_create(&threads[i], NULL, open_and_hold, held[i]);
		while (atomic_load(&going) < OPENERS ||
		       atomic_load(&opened) < round * 7 % 300 + 1)
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

/* Attaching, opening, taking back and evicting at the same time. */
static atomic_bool stop;
static atomic_uint opens_of, failed_opens;

static void *open_for_ever(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		int fd = open(PATH, O_RDONLY);
		char got;

		if (fd < 0 || pread(fd, &got, 1, 0) != 1)
			atomic_fetch_add(&failed_opens, 1);
		close(fd);
		atomic_fetch_add(&opens_of, 1);
	}
	return NULL;
}

static void *take_back_for_ever(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		take_back();
		usleep(10000);
	}
	return NULL;
}

static void *expire_for_ever(void *argument)
{
	struct {
		struct fuse_notify_inval_entry_out head;
		char name[5];
	} out = { { .parent = FUSE_ROOT_ID, .namelen = 4 }, "file" };

	(void)argument;
	while (!atomic_load(&stop)) {
		for (int i = 0; i < 20; i++) {
			/* ENOENT: nobody has looked it up since. */
			int err = server_notify(server, FUSE_NOTIFY_INVAL_ENTRY, &out,
						sizeof(out.head) + sizeof(out.name));

			CHECK(!err || err == -ENOENT);
			usleep(1000);
		}
		drop_caches();
	}
	return NULL;
}

static void all_at_once(void)
{
	static void *(*const what[])(void *) = { open_for_ever, open_for_ever, open_for_ever,
						 take_back_for_ever, expire_for_ever };
	enum { THREADS = sizeof(what) / sizeof(what[0]) };
	pthread_t threads[THREADS];
	int id;

	prepare(READ);
	mount_backing();
	server_mount(server);
	CHECK(server->offered & FUSE_PASSTHROUGH_ATTACH);
	/* What is asked for gets an id of its own, which stays. */
	id = open(plan->backing, O_PATH);
	atomic_store(&file->open_flags, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH);
	atomic_store(&file->backing_id, server_register(server, id));
	close(id);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, what[i], NULL);
	sleep(2 * test_times());
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	settle();
	CHECK_EQUAL(failed_opens, 0);
	CHECK_EQUAL(server_unregister(server, file->backing_id), 0);
	FIGURE("opens, of them asked %u, %u", opens_of, seen(FUSE_OPEN));
	CHECK(seen(FUSE_OPEN) < opens_of && seen(FUSE_OPEN) > 0);
	CHECK(seen(FUSE_LOOKUP) > 2);
	server_unmount(server);
	CHECK(umount2("/tmp/back", 0) == 0);
}

/* ---- Figures ---- */

#define LIMIT_SECONDS 0.05
enum { LOOPS = 4000, FIGURE_ROUNDS = 9 };

static unsigned loops_done;

/* Microseconds; fewer loops where they take long, so that a busy machine is done in time. */
static double once(const char *path, bool with_read)
{
	double start = test_clock(), limit = LIMIT_SECONDS * test_times();
	char data[4096];
	int loops = 0;

	while (loops < LOOPS && (loops % 100 || test_clock() - start < limit)) {
		int fd = open(path, O_RDONLY);

		if (with_read && read(fd, data, sizeof(data)) != sizeof(data))
			FAIL("read");
		close(fd);
		loops++;
	}
	loops_done = (unsigned)loops;
	return (test_clock() - start) * 1e6 / loops;
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
	enum { NATIVE, ASKED, ATTACHED };
	static const char *const names[] = { "native", "asked", "attached" };
	double took[2][3][FIGURE_ROUNDS];
	struct served_file *asked;
	unsigned columns, asked_loops = 0;

	prepare(READ);
	asked = server_add(server, "asked", file->data);
	server->threads = 1;
	server_mount(server);
	columns = server->offered & FUSE_PASSTHROUGH_ATTACH ? 3 : 2;
	atomic_store(&asked->open_flags, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH);
	atomic_store(&asked->backing_id, server_register(server, file->data));
	for (int round = 0; round < FIGURE_ROUNDS; round++)
		for (int read = 0; read < 2; read++)
			for (unsigned i = 0; i < columns; i++) {
				unsigned column = (i + (unsigned)round) % columns;

				took[read][column][round] = once(paths[column], read);
				if (column == ASKED)
					asked_loops += loops_done;
			}
	for (int read = 0; read < 2; read++)
		for (unsigned i = 0; i < columns; i++) {
			qsort(took[read][i], FIGURE_ROUNDS, sizeof(double), ascending);
			FIGURE("open+%sclose,%s %.2f us (%.2f to %.2f)", read ? "read+" : "",
			       names[i], took[read][i][FIGURE_ROUNDS / 2], took[read][i][0],
			       took[read][i][FIGURE_ROUNDS - 1]);
		}
	CHECK_EQUAL(asked->opens, asked_loops);
}

static const struct test tests[] = {
	{ "opens racing with the taking back", NEEDS(5), race },
	{ "attaching, opening, taking back and evicting at once", NEEDS(5), all_at_once },
	{ "figures of opens", 0, figures },
};

TEST_MAIN(tests)
