// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The first process of a guest: runs every program of a directory and switches off. The kernel's
 * command line gives it as environment: guest_tests, the directory (default: /tests), and
 * guest_only, words of which a test's name must contain one.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { QEMU_EXIT_PORT = 0xf4, MAX_WORDS = 16 };

static void mount_all(void)
{
	static const char *const mounts[][2] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
		{ "tmpfs", "/tmp" },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][1], 0755);
		if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL) && errno != EBUSY)
			printf("guest: %s: %s\n", mounts[i][1], strerror(errno));
	}
}

static void run(const char *directory, const char *name)
{
	char path[512], *words[MAX_WORDS + 2] = { path };
	char *only = getenv("guest_only");
	pid_t child;
	int count = 1;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	only = strdup(only ? only : "");
	for (char *word = strtok(only, ","); word && count <= MAX_WORDS; word = strtok(NULL, ","))
		words[count++] = word;
	child = fork();
	if (child == 0) {
		execv(path, words);
		printf("guest: %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	waitpid(child, NULL, 0);
	free(only);
}

/* As pid 1 it also buries the orphans; those of a test are gone once its program has ended. */
static int is_program(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(void)
{
	const char *directory = getenv("guest_tests") ? getenv("guest_tests") : "/tests";
	struct dirent **programs;
	int count, console;

	mount_all();
	if (getenv("guest_console")) {
		console = open(getenv("guest_console"), O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(console, fd);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("guest begins\n");
	count = scandir(directory, &programs, is_program, alphasort);
	for (int i = 0; i < count; i++)
		run(directory, programs[i]->d_name);
	printf("guest ends\n");
	sync();
	tcdrain(STDOUT_FILENO); /* the console may still have all of the last lines */
#if defined(__x86_64__)
	if (getenv("guest_qemu") && !ioperm(QEMU_EXIT_PORT, 1, 1))
		outb(0, QEMU_EXIT_PORT);
#endif
	reboot(RB_POWER_OFF);
	return 0;
}
