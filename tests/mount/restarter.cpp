// SPDX-License-Identifier: GPL-2.0-or-later
//
// By system calls alone: Catch2 is not for other threads.
#include "mount/restarter.h"

#include <spawn.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

namespace plyfs::test {
namespace {

constexpr std::chrono::milliseconds kPause{30};

int wait_for(pid_t process) {
    int status = 0;
    while (::waitpid(process, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return status;
}

// The process that serves now; 0: it does not say.
pid_t serving(const std::string& mountpoint) {
    std::array<char, 65536> text{};
    const ssize_t size =
        ::getxattr(mountpoint.c_str(), "user.plyfs.stats", text.data(), text.size());
    if (size <= 0) return 0;
    const auto report = nlohmann::json::parse(text.data(), text.data() + size, nullptr, false);
    return report.is_object() ? report.at("daemon").at("process").get<pid_t>() : 0;
}

}  // namespace

Restarter::Restarter(std::string program, std::string mountpoint, pid_t daemon)
    : program_(std::move(program)), mountpoint_(std::move(mountpoint)), daemon_(daemon),
      thread_([this] { run(); }) {}

pid_t Restarter::stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    return daemon_;
}

void Restarter::run() {
    while (!stopping_ && restart()) std::this_thread::sleep_for(kPause);
}

bool Restarter::restart() {
    std::array<std::string, 3> words{program_, "restart", mountpoint_};
    char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    pid_t command = 0;
    if (::posix_spawn(&command, program_.c_str(), nullptr, nullptr, arguments, environ) != 0) {
        return false;
    }
    if (wait_for(command) != 0) return true;  // it says why
    const pid_t now = serving(mountpoint_);
    if (now == 0 || now == daemon_) return now != 0;
    const pid_t before = daemon_.exchange(now);
    if (wait_for(before) == 0) return true;
    daemon_ = 0;
    return false;
}

}  // namespace plyfs::test
