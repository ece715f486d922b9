/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of a kernel: each in a process and a mount namespace of its own, with an empty /tmp. */
#ifndef TEST_H
#define TEST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
	const char *name;
	/* The patches without which it has to fail, as a set of bits NEEDS(number); 0: it passes on
	 * every kernel. */
	unsigned needs;
	void (*run)(void);
};

#define NEEDS(patch) (1u << (patch))

/* Runs those whose name contains an argument (all without argument), prints one line for each:
 *     test PROGRAM NEEDS passed|failed SECONDS NAME
 * and, before it, what it said. Returns how many failed. */
int run_tests(int argc, char **argv, const struct test *tests, size_t count);

/* How many times as long as usual a load or a measurement is to be: kernel/test --times. */
unsigned test_times(void);

/* Seconds, of CLOCK_MONOTONIC. */
double test_clock(void);

#define TEST_MAIN(tests)                                                                           \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return run_tests(argc, argv, tests, sizeof(tests) / sizeof((tests)[0])) != 0;      \
	}

/* A figure that the runner shows: `name` value unit. */
#define FIGURE(...) (printf("figure " __VA_ARGS__), putchar('\n'), fflush(stdout))

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                    \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fputc('\n', stderr);                                                               \
		exit(1);                                                                           \
	} while (0)

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			FAIL("not so: %s (errno: %s)", #condition, strerror(errno));               \
	} while (0)

#define CHECK_EQUAL(got, expected)                                                                 \
	do {                                                                                       \
		long long got_ = (long long)(got), expected_ = (long long)(expected);              \
		if (got_ != expected_)                                                             \
			FAIL("%s is %lld, not %lld", #got, got_, expected_);                       \
	} while (0)

/* `call` fails with this errno. */
#define CHECK_ERROR(call, expected)                                                                \
	do {                                                                                       \
		errno = 0;                                                                         \
		long long result_ = (long long)(call);                                             \
		if (result_ != -1 || errno != (expected))                                          \
			FAIL("%s gives %lld (%s), not %s", #call, result_, strerror(errno),        \
			     strerror(expected));                                                  \
	} while (0)

#endif
