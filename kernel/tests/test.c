// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include "test.h"

#include <sched.h>
#include <stdbool.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 120 };

unsigned test_times(void)
{
	const char *times = getenv("guest_times");

	return times ? (unsigned)atoi(times) : 1;
}

double test_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(const struct test *test)
{
	/* A test that hangs is killed with everything it started. */
	setpgid(0, 0);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/tmp", "tmpfs", 0, NULL))
		FAIL("no mount namespace with an empty /tmp: %s", strerror(errno));
	/* Children of other users get at the files, too. */
	umask(0);
	test->run();
	exit(0);
}

static bool wait_for(pid_t child, int *status)
{
	double end = test_clock() + LIMIT_SECONDS * test_times();

	while (test_clock() < end) {
		if (waitpid(child, status, WNOHANG) == child)
			return true;
		usleep(2000);
	}
	return false;
}

int run_tests(int argc, char **argv, const struct test *tests, size_t count)
{
	const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	int failed = 0;

	for (size_t i = 0; i < count; i++) {
		bool chosen = argc < 2, passed;
		double start = test_clock();
		int status = 0;
		pid_t child;

		for (int a = 1; a < argc; a++)
			chosen |= strstr(tests[i].name, argv[a]) != NULL;
		if (!chosen)
			continue;
		fflush(stdout);
		child = fork();
		if (child == 0)
			run(&tests[i]);
		setpgid(child, child);
		if (!wait_for(child, &status)) {
			fprintf(stderr, "%s: not done after %u s\n", tests[i].name,
				LIMIT_SECONDS * test_times());
			kill(-child, SIGKILL);
			waitpid(child, &status, 0);
		}
		kill(-child, SIGKILL); /* servers that a failed test left */
		passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		if (WIFSIGNALED(status))
			fprintf(stderr, "%s: killed by signal %d\n", tests[i].name,
				WTERMSIG(status));
		fflush(stderr);
		printf("test %s %u %s %.2f %s\n", program, tests[i].needs,
		       passed ? "passed" : "failed", test_clock() - start, tests[i].name);
		fflush(stdout);
		failed += !passed;
	}
	return failed;
}
