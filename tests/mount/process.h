// SPDX-License-Identifier: GPL-2.0-or-later
//
// Other processes: programs that are run, and actions carried out by other users.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mount/outcome.h"
#include "sys/unique_fd.h"

namespace plyfs::test {

// A forked process, killed and waited for with its owner. What it runs must not use Catch2.
class Process {
public:
    explicit Process(const std::function<int()>& action);
    Process(Process&&) noexcept;
    Process& operator=(Process&&) = delete;
    ~Process();

    pid_t id() const noexcept { return id_; }
    void signal(int number) const;
    bool running() const;
    // The exit status, or 128 and the signal that ended it. Once.
    int wait();

private:
    pid_t id_ = 0;
};

// Waits until a process that is a child of this one has ended. False: not within `seconds`.
bool wait_until_ended(pid_t process, int seconds);
// Its status as Process::wait() gives it.
int reap(pid_t process);

struct Ran {
    int status = 0;      // as Process::wait() gives it
    std::string output;  // of stdout and stderr
};

// Runs a program, found in PATH, and waits for it (not for what it left in the background).
Ran run(const std::vector<std::string>& words, const std::string& directory = "/");

struct User {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;
};

// Ids that no account has.
inline const User kAlice{.uid = 20'001, .gid = 30'001, .groups = {}};
inline const User kBob{.uid = 20'002, .gid = 30'002, .groups = {}};

// The value of `action`, an errno or 0, carried out by another user in another process.
Outcome as_user(const User& user, const std::function<Outcome()>& action);
// The same by this user in another process.
Outcome in_process(const std::function<Outcome()>& action);
// Makes the calling process the user's; false if that failed.
bool become(const User& user);

// A number in the environment of the tests.
std::uint64_t from_environment(const char* name, std::uint64_t otherwise);

}  // namespace plyfs::test
