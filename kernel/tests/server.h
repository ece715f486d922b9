/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A FUSE server for the tests, on /dev/fuse alone: one directory of files, each served from a
 * descriptor that the test gives. It runs in a process of its own, which the test may kill and
 * start again; what it answers and what it saw is in memory that both share. The test holds
 * /dev/fuse too, so that the connection outlives the server.
 */
#ifndef SERVER_H
#define SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/fuse.h>

#define SERVER_FILES   16
#define SERVER_OPCODES 64

struct served_file {
	char name[64];
	int data; /* attributes, reads and writes are answered from it; inherited by the server */

	/* How requests are answered; the test may change it at any time. */
	atomic_uint open_flags;	 /* FOPEN_... */
	atomic_int backing_id;	 /* of an open with FOPEN_PASSTHROUGH */
	atomic_uint hold_writes; /* a WRITE is answered when so many are in flight, */
	atomic_uint hold_ms;	 /* or after so many milliseconds */

	/* What the server saw. */
	atomic_uint opens, releases, reads, writes, setattrs;
	atomic_uint in_flight, most_in_flight; /* WRITE requests */
};

struct server;

/* Sees a request before the server does; answers it with server_reply() and returns true, or
 * returns false. Runs in the server's process, on any of its threads. */
typedef bool (*server_hook)(struct server *server, const struct fuse_in_header *in,
			    const void *argument);

struct server {
	/* Constant once it runs. */
	char mountpoint[128];
	int device;		/* /dev/fuse */
	uint64_t wanted;	/* FUSE_INIT flags it asks for, if the kernel offers them */
	uint32_t magic;		/* that it asks for provisional ones with */
	uint32_t stack_depth;	/* max_stack_depth of its INIT answer */
	uint32_t valid_seconds; /* of names and attributes */
	unsigned threads;
	server_hook hook;
	pid_t process;

	/* FUSE_INIT flags of the kernel; 0 before the first request. In flags2, and all. */
	_Atomic uint64_t offered_in_flags2, offered;
	atomic_uint requests[SERVER_OPCODES]; /* by opcode */

	unsigned file_count;
	struct served_file files[SERVER_FILES]; /* the file of node N is files[N - 2] */
};

/* A server that is not mounted yet, with the defaults: passthrough, HANDLE_KILLPRIV_V2, stack
 * depth 1, an hour of validity, 12 threads. */
struct server *server_new(const char *mountpoint);

/* Adds a file before the server starts. `data` stays the caller's. */
struct served_file *server_add(struct server *server, const char *name, int data);

void server_mount(struct server *server); /* and starts it */
void server_start(struct server *server); /* again, after server_kill() */
void server_kill(struct server *server);
void server_unmount(struct server *server);

/* Registers the descriptor as a backing; a negative errno if the kernel refuses. */
int server_register(struct server *server, int fd);
int server_register_as(struct server *server, int fd, uint32_t flags);
int server_unregister(struct server *server, int backing_id);

/* What INIT offers, and the answer that agrees to `agreed`: provisional flags are in flags2 before
 * patch 8, and beside the magic number since. */
uint64_t server_init_offered(const struct fuse_init_in *in);
void server_init_agree(struct fuse_init_out *out, uint64_t agreed, uint32_t magic);

void server_reply(struct server *server, uint64_t unique, int error, const void *data, size_t size);

/* Sends a notification (FUSE_NOTIFY_...); a negative errno if the kernel refuses. */
int server_notify(struct server *server, int code, const void *data, size_t size);

/* The answer to a LOOKUP of this file, and the answer to its OPEN. */
void server_entry(struct server *server, struct served_file *file, struct fuse_entry_out *out);
void server_open_out(struct served_file *file, struct fuse_open_out *out);

#endif
