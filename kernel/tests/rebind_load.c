// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rebinding (patch 4) under load: readers see whole versions of a file, none older than what was
 * there when they began.
 */
#define _GNU_SOURCE
#include "rebinding.h"

static atomic_bool stop;
static atomic_int published;	/* the version that the last complete rebind published */
static atomic_long reads_done, opens_done;
enum { LOAD_SIZE = 49152 };

static unsigned seed_of(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* One version's file is full of that version's number. A read has one version throughout, none that
 * is older than what was published before it began, nor than what this reader saw before. */
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
		CHECK_EQUAL(read(ends[0], words, got), got);
	} else {
		got = pread(fd, words, size, at);
		CHECK_EQUAL(got, (ssize_t)size);
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
	enum { THREADS = 8, VERSIONS = 1000000 };
	static uint32_t words[LOAD_SIZE / 4];
	pthread_t thread[THREADS];
	double end;
	start();
	struct node *node = add(&outer, 0, new_file("v0"), true);
	CHECK(write(node->fd, words, LOAD_SIZE) == LOAD_SIZE);
	int keep = open_at(&outer, 0, O_RDONLY);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL,
			       i < 4 ? load_reader : i < 7 ? load_opener : load_mapper, (void *)i);
	end = test_clock() + 1.5 * test_times();
	int version = 0;
	while (test_clock() < end && version < VERSIONS) {
		char name[32], old[300];
		version++;
		snprintf(name, sizeof name, "v%d", version);
		int fd = new_file(name);
		for (int i = 0; i < LOAD_SIZE / 4; i++)
			words[i] = version;
		CHECK(write(fd, words, LOAD_SIZE) == LOAD_SIZE);
		CHECK_EQUAL(rebind(&outer, node->id, fd), 0);
		atomic_store(&published, version);
		pthread_mutex_lock(&outer.mutex);
		close(node->fd);
		node->fd = fd;
		pthread_mutex_unlock(&outer.mutex);
		snprintf(old, sizeof old, "/tmp/v%d", version - 1);
		unlink(old);
		if (version % 16 == 0)
			usleep(1000);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	uint32_t word;
	CHECK(pread(keep, &word, 4, 0) == 4);
	CHECK_EQUAL(word, version);
	FIGURE("%d rebinds amid %ld reads and %ld opens", version, atomic_load(&reads_done),
	       atomic_load(&opens_done));
	CHECK(atomic_load(&reads_done) > 100 && version > 10);
}

/*
 * As fsx does it: one copy-up after the other, each amid random writes, truncations and reads, which
 * are compared with a model through descriptors that are older than the copy-up and newer than it.
 */
static void load_copy_up(void)
{
	enum { MAX = 200000, OPERATIONS = 150 };
	static char model[MAX], bytes[MAX];
	unsigned state = 4711;
	unsigned rounds = 20 * test_times();
	start();
	for (unsigned round = 0; round < rounds; round++) {
		size_t size = seed_of(&state) % (MAX / 2) + 1;
		int index = round % NODES;
		struct node *node = &outer.node[index];
		for (size_t i = 0; i < size; i++)
			model[i] = seed_of(&state);
		int lower = new_file("lower");
		CHECK(write(lower, model, size) == (ssize_t)size);
		pthread_mutex_lock(&outer.mutex);
		if (node->id) {
			uint32_t id = node->id;
			CHECK(ioctl(outer.dev, FUSE_DEV_IOC_BACKING_CLOSE, &id) == 0);
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
				CHECK_EQUAL(outer.rebound, 0);
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
				CHECK_EQUAL(pread(fd, bytes, length, at), want);
				CHECK(memcmp(bytes, model + at, want) == 0);
			}
		}
		struct stat stat;
		CHECK(fstat(old[0], &stat) == 0);
		CHECK_EQUAL(stat.st_size, (long long)size);
		CHECK(fstat(lower, &stat) == 0);
		CHECK_EQUAL(stat.st_size, (long long)lower_size);
		for (int i = 0; i < 3; i++)
			close(old[i]);
		close(writer);
		close(newer);
		close(lower);
		unlink("/tmp/lower");
	}
}

static const struct test tests[] = {
	{ "many rebinds under load: whole versions, in order", NEEDS(4), load_versions },
	{ "random writes and reads across copy-ups agree with a model", NEEDS(4), load_copy_up },
};

TEST_MAIN(tests)
