// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/server.h"

#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <thread>
#include <tuple>
#include <utility>

#include "session/handover.h"
#include "session/mount_arguments.h"
#include "session/operations.h"
#include "session/saved_records.h"
#include "union/union_restoration.h"

namespace plyfs::session {
namespace {

// How long a detached mount may go on being used after SIGTERM before it is cut off, and how long
// what is cut off may take to end.
constexpr int kGraceMilliseconds = 5000;

// Within this time of each other two signals are one.
constexpr std::chrono::seconds kOneSignal{1};

// The connection in /sys/fs/fuse/connections: its number is the mount's device number.
void abort_connection(unsigned connection) {
    std::ofstream abort(fmt::format("/sys/fs/fuse/connections/{}/abort", connection));
    abort << "1\n";
}

void detach(const std::string& mountpoint) {
    if (::umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return;
    // Not root: the setuid helper may.
    const char* arguments[] = {"fusermount3", "-u", "-z", "-q", "--", mountpoint.c_str(), nullptr};
    pid_t child = 0;
    if (::posix_spawnp(&child, "fusermount3", nullptr, nullptr, const_cast<char* const*>(arguments),
                       environ) == 0) {
        ::waitpid(child, nullptr, 0);
    }
}

std::uint64_t random_generation() {
    std::uint64_t generation = 0;
    while (::getrandom(&generation, sizeof generation, 0) != sizeof generation) {
    }
    return generation;
}

double seconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double>(duration).count();
}

// Threads that read the device.
std::size_t thread_count(const Context& context) {
    if (context.rings) return 1;  // of all requests, FORGET and INTERRUPT alone come there
    if (const auto asked = context.options.limits.threads; asked != 0) return asked;
    // More than there are processors: a branch on a slow disk must not hold up the others.
    return std::clamp<std::size_t>(std::size_t{2} * std::thread::hardware_concurrency(), 4, 16);
}

bool is_connected(int device) {
    pollfd state{device, 0, 0};
    return ::poll(&state, 1, 0) == 0;  // POLLERR, otherwise
}

// SIGTERM and SIGINT unmount; blocked, so that they are read where the main thread waits.
int blocked_signals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&blocked, signal);
    ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    return ::signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
}

}  // namespace

std::size_t ring_thread_count(const config::Options& options) {
    if (options.limits.threads != 0) return options.limits.threads;
    const std::size_t processors = std::max(std::thread::hardware_concurrency(), 1U);
    return std::clamp<std::size_t>(128 / processors, 4, 64);
}

Server::Server(const config::Options& options, const std::string& text, Union& united,
               Passing& passing)
    : options_(options), text_(text), united_(united), passing_(passing),
      rings_(ring_thread_count(options), statistics_), ended_(::eventfd(0, EFD_CLOEXEC)),
      signals_(blocked_signals()), context_{.united = united,
                                            .open_files = passing.open_files,
                                            .housekeeper = passing.housekeeper,
                                            .locks = locks_,
                                            .waiters = waiters_,
                                            .options = options,
                                            .statistics = statistics_,
                                            .restarts = restarts_} {
    context_.generation = random_generation();
    context_.entry_timeout = seconds(options.cache.entry);
    context_.negative_timeout = seconds(options.cache.negative_entry);
    context_.attribute_timeout = seconds(options.cache.attributes);
}

Server::~Server() {
    passing_.housekeeper.stop();
    passing_.open_files.close_idle(passthrough::OpenFiles::kAll, passthrough::OpenFiles::kAll);
    passing_.registrar.set_device(-1);
}

std::expected<void, SessionError> Server::open_session(const std::string& mountpoint) {
    MountArguments arguments(options_);
    const fuse_lowlevel_ops table = operations(options_);
    session_.reset(fuse_session_new(arguments.get(), &table, sizeof table, &context_));
    if (!session_) return refuse("libfuse refused the mount options (see above)");
    context_.session = session_.get();
    if (fuse_session_mount(session_.get(), mountpoint.c_str()) != 0) {
        return refuse(fmt::format("{}: could not be mounted (see above)", mountpoint));
    }
    return {};
}

std::expected<void, SessionError> Server::mount() {
    if (auto opened = open_session(options_.mountpoint); !opened) return opened;
    passing_.registrar.set_device(fuse_session_fd(session_.get()));
    if (const auto begun = begin(); !begun) {
        fuse_session_unmount(session_.get());
        rings_.stop();
        return refuse(fmt::format("{}: the kernel did not begin: {}", options_.mountpoint,
                                  begun.error().message()));
    }
    return {};
}

// Answers FUSE_INIT, and starts the rings if they are wanted and to be had.
Result<void> Server::begin() {
    std::uint64_t further = further_init_flags();
    if (options_.io_uring && options_.locks == config::LockScope::Branch) {
        // Who waits for a lock is answered by another thread (ring_loop.h).
        spdlog::warn("no io_uring with locks: branch; requests come through the device");
    } else if (options_.io_uring) {
        if (const auto prepared = RingLoop::prepare(session_.get())) {
            further |= kOverIoUring;
        } else {
            spdlog::warn("no io_uring: {}; requests come through the device", prepared.error());
        }
    }
    init_ = TRY(answer_init(session_.get(), further));
    further_agreed(&context_, init_.agreed);
    if (options_.passthrough.mode == config::PassthroughMode::On && !context_.passthrough) {
        spdlog::warn("this kernel has no FUSE passthrough: data goes through plyfs");
    }
    if ((further & ~init_.agreed & kOverIoUring) != 0) {
        spdlog::warn("the kernel does not offer io_uring for FUSE, which takes Linux 6.14 and Y in "
                     "/sys/module/fuse/parameters/enable_uring: requests come through the device");
    }
    if ((init_.agreed & kOverIoUring) != 0) {
        context_.rings = true;
        TRY(rings_.start({session_.get(), options_.debug}, init_.largest_payload));
    }
    return {};
}

std::expected<void, SessionError> Server::take_over(Predecessor::State state) {
    // libfuse takes the descriptor of a device for the mountpoint, and owns it from then on.
    const std::string device = fmt::format("/dev/fd/{}", state.device.get());
    if (auto opened = open_session(device); !opened) return opened;
    std::ignore = state.device.release();
    taken_over_ = true;
    if (const auto taken = take_records(state); !taken) {
        return refuse(taken.error() == EPROTO
                          ? std::string("what was handed over is not what this plyfs expects: "
                                        "unmount and mount again")
                          : std::string(taken.error().message()));
    }
    return {};
}

Result<void> Server::take(const SavedSession& saved) {
    context_.generation = saved.generation;
    connection_ = saved.connection;
    restarts_.set_done(saved.restarts);
    init_.agreed = saved.agreed;
    init_.request.assign(saved.init_request.begin(), saved.init_request.end());
    init_.reply.assign(saved.init_reply.begin(), saved.init_reply.end());
    init_ = TRY(repeat_init(session_.get(), init_));
    further_agreed(&context_, init_.agreed);
    return {};
}

Result<void> Server::take_records(Predecessor::State& state) {
    struct Taking {
        Server& server;
        TakenDescriptors& descriptors;
        UnionRestoration united;
        bool begun = false;

        Result<void> operator()(const SavedSession& saved) {
            begun = true;
            return server.take(saved);
        }
        Result<void> operator()(const SavedLock& lock) {
            server.locks_.restore(lock.node, lock.owner, TRY(descriptors.take(lock.descriptor)));
            return {};
        }
        Result<void> operator()(const SavedExpiry& name) {
            server.passing_.housekeeper.keep(name.parent, name.name);
            return {};
        }
        Result<void> operator()(const passthrough::SavedOpened& opened) {
            server.passing_.open_files.restore(opened);
            return {};
        }
        Result<void> operator()(SavedState&& saved) { return united.add(std::move(saved)); }
    };
    Taking taking{*this, state.descriptors, UnionRestoration(united_, state.descriptors)};
    TRY(read_records(state.records.get(), [&](Record&& record) -> Result<void> {
        return std::visit(
            [&]<typename Saved>(Saved&& saved) { return taking(std::forward<Saved>(saved)); },
            std::move(record));
    }));
    if (!taking.begun) return fail(EPROTO);
    return taking.united.finish();
}

void Server::say_ready(const std::function<void()>& ready) {
    if (connection_ == 0) {
        struct stat mounted{};
        // Served by the loop: the mount answers. Also tells its connection.
        if (::stat(options_.mountpoint.c_str(), &mounted) != 0) {
            spdlog::error("{}: does not answer", options_.mountpoint);
        }
        connection_ = minor(mounted.st_dev);
    }
    ready();
}

Ended Server::run(const std::function<void()>& ready) {
    const int device = fuse_session_fd(session_.get());
    DeviceLoop::begin_reading(device);
    if (taken_over_) {
        // Not before: until now it was the predecessor's.
        passing_.registrar.set_device(device);
        if (context_.reuses) passing_.open_files.close_inherited();
        passing_.housekeeper.backing_idle();
    }
    passing_.housekeeper.start(session_.get());
    Ended ended;
    {
        DeviceLoop loop({session_.get(), options_.debug}, thread_count(context_), statistics_, [&] {
            const std::uint64_t one = 1;
            if (::write(ended_.get(), &one, sizeof one) != sizeof one) std::abort();
        });
        say_ready(ready);
        ended = wait(loop);
    }
    rings_.stop();
    waiters_.end();
    passing_.housekeeper.stop();
    if (ended.successor != 0) {
        passing_.open_files.leave();
    } else if (!taken_over_) {
        fuse_session_unmount(session_.get());
    } else if (is_connected(device)) {
        detach(options_.mountpoint);  // libfuse knows of no mountpoint
    }
    return ended;
}

Ended Server::wait(DeviceLoop& loop) {
    for (;;) {
        std::array<pollfd, 3> waiting{{{signals_.get(), POLLIN, 0},
                                       {ended_.get(), POLLIN, 0},
                                       {restarts_.event(), POLLIN, 0}}};
        const int ready =
            ::poll(waiting.data(), waiting.size(), asked_to_end_ ? kGraceMilliseconds : -1);
        if (ready < 0 && errno == EINTR) continue;
        if ((waiting[1].revents & POLLIN) != 0) return {};
        if (ready == 0) {
            spdlog::warn("{} is still in use: its open files are cut off", options_.mountpoint);
            abort_connection(connection_);
            continue;
        }
        if ((waiting[2].revents & POLLIN) != 0) {
            restarts_.answered();
            Handover handover({context_, text_, init_, connection_},
                              [this] { return is_told_to_end(); });
            const auto successor = handover.run(loop);
            if (successor) {
                spdlog::info("{}: process {} goes on", options_.mountpoint, *successor);
                // A service would end with its main process.
                ::sd_notifyf(0, "MAINPID=%ld", static_cast<long>(*successor));
                return {*successor};
            }
            spdlog::warn("{}: not restarted: {}", options_.mountpoint, successor.error());
            restarts_.set_failed(successor.error());
        }
        signalfd_siginfo signal{};
        if (::read(signals_.get(), &signal, sizeof signal) != sizeof signal) continue;
        if (signal.ssi_signo != SIGHUP) unmount_for(signal.ssi_signo);  // nothing to read anew yet
    }
}

void Server::unmount_for(unsigned signal) {
    const auto now = std::chrono::steady_clock::now();
    if (!asked_to_end_) {
        spdlog::info("signal {}: unmounting {}", signal, options_.mountpoint);
        asked_to_end_ = now;
        return detach(options_.mountpoint);
    }
    // The same one by another way: of the terminal, and from a process that waits for this one.
    if (now - *asked_to_end_ < kOneSignal) return;
    spdlog::warn("{} is still in use: its open files are cut off", options_.mountpoint);
    abort_connection(connection_);
}

bool Server::is_told_to_end() const {
    pollfd signals{signals_.get(), POLLIN, 0};
    return asked_to_end_ || ::poll(&signals, 1, 0) > 0;
}

}  // namespace plyfs::session
