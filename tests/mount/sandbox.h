// SPDX-License-Identifier: GPL-2.0-or-later
//
// Namespaces around the test program, so that nothing of it outlives it or is seen outside: its
// mounts are private, its processes (daemons, other users) die with it, and /usr/sbin and /run are
// covered by copies that tests may change. A watchdog outside of it bounds every test case: it
// aborts the FUSE connections of the test when its time is up, and later kills the program.
#pragma once

#include <string>

namespace plyfs::test {

// Seconds that one test case may take before its connections are aborted.
inline constexpr unsigned kTestCaseSeconds = 60;

// From now on the test case may take so long.
void allow_seconds(unsigned seconds);

// Goes on in a child process inside the sandbox, while the caller waits for it, watches and exits
// with its status. Does nothing without the right to mount or without /dev/fuse.
void enter_sandbox();

// Skips the test case where there is no sandbox.
void require_sandbox();

// Lets the kernel offer io_uring to FUSE mounts that are made from now on, a setting of the whole
// system, until the program ends. False where it can't.
bool offer_io_uring();

// An empty directory of the sandbox's own tmpfs, new at each call. Readable by all users.
std::string make_scratch_directory();

// Connections that the watchdog aborts, by their number below /sys/fs/fuse/connections.
void watch_connection(unsigned connection);
void unwatch_connection(unsigned connection);

}  // namespace plyfs::test
