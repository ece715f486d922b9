// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/successor.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "plyfs_version.h"
#include "session/handover_words.h"
#include "session/saved_records.h"

namespace plyfs::session {
namespace {

// Where the successor finds the channel.
constexpr int kChannelDescriptor = 3;

// The path of this process's program file; of a file that has taken its place by now, if one has.
Result<std::string> program() {
    std::array<char, PATH_MAX> text{};
    const ssize_t size = ::readlink("/proc/self/exe", text.data(), text.size());
    if (size < 0) return fail(Errno::last());
    std::string path(text.data(), static_cast<std::size_t>(size));
    constexpr std::string_view kDeleted = " (deleted)";
    if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
    return path;
}

// With default signals, since blocked and ignored ones would be inherited.
Result<pid_t> spawn(const std::string& path, int channel) {
    posix_spawnattr_t attributes{};
    posix_spawn_file_actions_t actions{};
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_init(&actions);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    // To itself, dup2(2) would leave it to be closed by execve(2): posix_spawn(3) sees to that.
    ::posix_spawn_file_actions_adddup2(&actions, channel, kChannelDescriptor);
    // Libraries open files without O_CLOEXEC.
    ::posix_spawn_file_actions_addclosefrom_np(&actions, kChannelDescriptor + 1);
    std::string words[] = {"plyfs", "take-over", std::to_string(kChannelDescriptor)};
    char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    pid_t child = 0;
    const int error =
        ::posix_spawn(&child, path.c_str(), &actions, &attributes, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) return fail(error);
    return child;
}

Result<UniqueFd> file_of(const std::string& text) {
    UniqueFd file(::memfd_create("plyfs-configuration", MFD_CLOEXEC));
    if (!file) return fail(Errno::last());
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t size = ::write(file.get(), text.data() + done, text.size() - done);
        if (size < 0) return fail(Errno::last());
        done += static_cast<std::size_t>(size);
    }
    return file;
}

std::unexpected<std::string> silence(Errno error) {
    return std::unexpected<std::string>(error == EAGAIN
                                            ? "the new process does not answer"
                                            : "the new process ended before it could go on");
}

}  // namespace

std::expected<Successor, std::string> Successor::start() {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return std::unexpected(fmt::format("no sockets: {}", Errno::last().message()));
    }
    HandoverChannel channel(UniqueFd(pair[0]), kHandoverPatience);
    const UniqueFd other(pair[1]);
    const auto path = program();
    if (!path) return std::unexpected(fmt::format("no program: {}", path.error().message()));
    const auto child = spawn(*path, other.get());
    if (!child) return std::unexpected(fmt::format("{}: {}", *path, child.error().message()));
    return Successor(std::move(channel), *child);
}

Successor::Successor(Successor&& other) noexcept
    : channel_(std::move(other.channel_)), process_(std::exchange(other.process_, 0)) {}

void Successor::end() {
    const pid_t process = std::exchange(process_, 0);
    if (process == 0) return;
    if (refused_) {
        const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
        pollfd ended{handle.get(), POLLIN, 0};
        constexpr int kMilliseconds = 5000;
        if (handle) ::poll(&ended, 1, kMilliseconds);
    }
    ::kill(process, SIGKILL);  // it has not touched anything
    while (::waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
    }
}

std::expected<void, std::string> Successor::wait_for(std::string_view word) {
    const auto message = channel_.receive();
    if (!message) return silence(message.error());
    if (message->text == word) return {};
    refused_ = true;
    return std::unexpected(message->text);
}

std::expected<void, std::string> Successor::prepare(const config::Options& options,
                                                    const std::string& text,
                                                    const BranchSet& branches) {
    const auto configuration = file_of(text);
    if (!configuration) return std::unexpected(std::string(configuration.error().message()));
    const nlohmann::json header = {{"format", kHandoverFormat},
                                   {"version", PLYFS_VERSION},
                                   {"foreground", options.foreground},
                                   {"debug", options.debug},
                                   {"branches", branches.size()}};
    const int file = configuration->get();
    const auto sent = channel_.send(header.dump(), std::span(&file, 1));
    if (!sent) return silence(sent.error());
    std::vector<int> roots;
    for (const auto& branch : branches) roots.push_back(branch->root());
    return give_descriptors(roots, kReady);
}

std::expected<void, std::string> Successor::give(int records, int device,
                                                 const std::vector<int>& descriptors) {
    const nlohmann::json state = {{"descriptors", descriptors.size()}};
    const std::array<int, 2> files{records, device};
    const auto sent = channel_.send(state.dump(), files);
    if (!sent) return silence(sent.error());
    return give_descriptors(descriptors, kTaken);
}

std::expected<void, std::string> Successor::give_descriptors(const std::vector<int>& descriptors,
                                                             std::string_view word) {
    const auto sent = channel_.send_descriptors(descriptors);
    // Of a successor that refuses what it says is worth more.
    const bool gone = !sent && (sent.error() == EPIPE || sent.error() == ECONNRESET);
    if (!sent && !gone) {
        return std::unexpected(
            fmt::format("open files could not be handed over: {}", sent.error().message()));
    }
    return wait_for(word);
}

std::expected<pid_t, std::string> Successor::commit() {
    if (const auto sent = channel_.send(kGo); !sent) return silence(sent.error());
    return std::exchange(process_, 0);
}

}  // namespace plyfs::session
