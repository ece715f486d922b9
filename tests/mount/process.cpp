// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <utility>

#include "mount/sandbox.h"

namespace plyfs::test {

namespace {

constexpr int kFailedToBecome = 120;

}  // namespace

Process::Process(const std::function<int()>& action) {
    id_ = ::fork();
    if (id_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::_exit(action());
    }
    REQUIRE(id_ > 0);
}

Process::Process(Process&& other) noexcept : id_(std::exchange(other.id_, 0)) {}

Process::~Process() {
    if (id_ <= 0) return;
    signal(SIGKILL);
    wait();
}

void Process::signal(int number) const {
    ::kill(id_, number);
}

bool Process::running() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

int Process::wait() {
    return reap(std::exchange(id_, 0));
}

bool wait_until_ended(pid_t process, int seconds) {
    const UniqueFd descriptor(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
    pollfd ended{descriptor.get(), POLLIN, 0};
    return descriptor && ::poll(&ended, 1, seconds * 1000) == 1;
}

int reap(pid_t process) {
    int status = 0;
    while (::waitpid(process, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Ran run(const std::vector<std::string>& words, const std::string& directory) {
    const UniqueFd output(::memfd_create("output", MFD_CLOEXEC));
    REQUIRE(output);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);

    Process process([&] {
        const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        ::dup2(nothing.get(), STDIN_FILENO);
        ::dup2(output.get(), STDOUT_FILENO);
        ::dup2(output.get(), STDERR_FILENO);
        // The daemon outlives the process that starts it, so nothing may die with a parent.
        ::prctl(PR_SET_PDEATHSIG, 0);
        if (::chdir(directory.c_str()) == 0) ::execvp(arguments[0], arguments.data());
        return 127;
    });
    Ran ran;
    ran.status = process.wait();
    std::string buffer(4096, '\0');
    off_t offset = 0;
    for (ssize_t got = 0; (got = ::pread(output.get(), buffer.data(), buffer.size(), offset)) > 0;
         offset += got)
        ran.output.append(buffer, 0, static_cast<std::size_t>(got));
    return ran;
}

bool become(const User& user) {
    return ::setgroups(user.groups.size(), user.groups.data()) == 0 &&
           ::setresgid(user.gid, user.gid, user.gid) == 0 &&
           ::setresuid(user.uid, user.uid, user.uid) == 0;
}

Outcome as_user(const User& user, const std::function<Outcome()>& action) {
    Process process([&] {
        if (!become(user)) return kFailedToBecome;
        // Changing credentials clears it.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        return action().code();
    });
    return process.wait();
}

Outcome in_process(const std::function<Outcome()>& action) {
    Process process([&] { return action().code(); });
    return process.wait();
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const given = std::getenv(name);
    return given != nullptr ? std::strtoull(given, nullptr, 0) : otherwise;
}

}  // namespace plyfs::test
