// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/session.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <memory>
#include <optional>
#include <set>

#include "session/backing_registrar.h"
#include "session/context.h"
#include "session/device_loop.h"
#include "session/housekeeper.h"
#include "session/init.h"
#include "session/mount_arguments.h"
#include "session/mounted_branches.h"
#include "session/operations.h"
#include "union/union.h"

namespace plyfs::session {
namespace {

// How long a detached mount may go on being used after SIGTERM before it is cut off, and how long
// what is cut off may take to end.
constexpr int kGraceMilliseconds = 5000;

struct SessionDeleter {
    void operator()(fuse_session* session) const noexcept { fuse_session_destroy(session); }
};
using SessionPointer = std::unique_ptr<fuse_session, SessionDeleter>;

std::unexpected<SessionError> refuse(std::string text) {
    return std::unexpected(SessionError{std::move(text)});
}

// How many descriptors the process may have: as many as it can get, since they are what a union
// needs most.
std::size_t raise_descriptor_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_max;
}

// Threads for each processor's queue, at most.
std::size_t ring_thread_count(const config::Options& options) {
    if (options.limits.threads != 0) return options.limits.threads;
    const std::size_t processors = std::max(std::thread::hardware_concurrency(), 1U);
    return std::clamp<std::size_t>(128 / processors, 4, 64);
}

// What is left for open files of `descriptors`. A reader that keeps what it opened takes two.
std::size_t open_file_limit(const config::Options& options, std::size_t descriptors,
                            std::size_t open_directories) {
    // Requests in progress, devices, branches, work directories, rings.
    const std::size_t rings =
        options.io_uring ? ring_thread_count(options) * std::thread::hardware_concurrency() : 0;
    const std::size_t reserve =
        std::clamp<std::size_t>(descriptors / 4, 32, 512) + 4 * options.branches.size() + rings;
    const std::size_t kept = reserve + open_directories;
    const std::size_t left = descriptors > kept ? descriptors - kept : descriptors / 4;
    const bool snapshots = std::ranges::any_of(options.branches, [&](const auto& branch) {
        return branch.readers.value_or(options.readers) == config::Readers::Snapshot;
    });
    return std::max<std::size_t>(snapshots ? left / 2 : left, 16);
}

UnionOptions union_options(const config::Options& options) {
    UnionOptions result;
    result.policies = options.policies;
    result.xattrs = options.xattrs;
    const std::size_t descriptors = raise_descriptor_limit();
    result.open_directories = std::clamp<std::size_t>(descriptors / 8, 64, 4096);
    if (options.limits.open_directories != 0) {
        result.open_directories = options.limits.open_directories;
    }
    result.open_files = open_file_limit(options, descriptors, result.open_directories);
    result.durable_copies = options.copy_up.fsync && !options.is_volatile;
    result.redirect = options.copy_up.redirect;
    result.metacopy = options.copy_up.metacopy;
    result.index = options.copy_up.index;
    result.copy_up_policy = options.copy_up.policy;
    result.warn = [](std::string_view text) { spdlog::warn("{}", text); };
    return result;
}

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

// Waits until the serving threads have ended, or unmounts when a signal asks for it.
void wait_until_unmounted(const std::string& mountpoint, unsigned connection, int signals,
                          int ended) {
    bool asked = false;
    for (;;) {
        std::array<pollfd, 2> waiting{{{signals, POLLIN, 0}, {ended, POLLIN, 0}}};
        const int ready = ::poll(waiting.data(), waiting.size(), asked ? kGraceMilliseconds : -1);
        if (ready < 0 && errno == EINTR) continue;
        if ((waiting[1].revents & POLLIN) != 0) return;
        if (ready > 0) {
            signalfd_siginfo signal{};
            if (::read(signals, &signal, sizeof signal) != sizeof signal) continue;
            if (signal.ssi_signo == SIGHUP) continue;  // nothing to read anew yet
            spdlog::info("signal {}: unmounting {}", signal.ssi_signo, mountpoint);
            if (!asked) {
                asked = true;
                detach(mountpoint);
                continue;
            }
        }
        spdlog::warn("{} is still in use: its open files are cut off", mountpoint);
        abort_connection(connection);
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

// What the union tells of, and so what outlives it.
struct Passing {
    explicit Passing(const config::Options& options)
        : housekeeper(open_files, options.passthrough.attach) {}
    BackingRegistrar registrar;
    passthrough::OpenFiles open_files{registrar, [](Errno error) { report_refusal(error); }};
    Housekeeper housekeeper;
};

// The mount's device is there as long as this is.
class Serving {
public:
    Serving(Passing& passing, fuse_session* session) : passing_(passing) {
        passing.registrar.set_device(fuse_session_fd(session));
        passing.housekeeper.start(session);
    }
    ~Serving() {
        passing_.housekeeper.stop();
        constexpr auto kAll = passthrough::OpenFiles::Clock::time_point::max();
        passing_.open_files.close_idle(kAll, kAll);
        passing_.registrar.set_device(-1);
    }
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;

private:
    Passing& passing_;
};

// Answers FUSE_INIT, and starts the rings if they are wanted and to be had.
Result<void> begin(Context& context, const RequestServer& server, RingLoop& rings) {
    const config::Options& options = context.options;
    std::uint64_t further = further_init_flags();
    if (options.io_uring && options.locks == config::LockScope::Branch) {
        // Who waits for a lock is answered by another thread (ring_loop.h).
        spdlog::warn("no io_uring with locks: branch; requests come through the device");
    } else if (options.io_uring) {
        if (const auto prepared = RingLoop::prepare(context.session)) {
            further |= kOverIoUring;
        } else {
            spdlog::warn("no io_uring: {}; requests come through the device", prepared.error());
        }
    }
    const InitAnswer init = TRY(answer_init(context.session, further));
    further_agreed(&context, init.agreed);
    if (options.passthrough.mode == config::PassthroughMode::On && !context.passthrough) {
        spdlog::warn("this kernel has no FUSE passthrough: data goes through plyfs");
    }
    if ((further & ~init.agreed & kOverIoUring) != 0) {
        spdlog::warn("the kernel does not offer io_uring for FUSE, which takes Linux 6.14 and Y in "
                     "/sys/module/fuse/parameters/enable_uring: requests come through the device");
    }
    if ((init.agreed & kOverIoUring) != 0) {
        context.rings = true;
        TRY(rings.start(server, init.largest_payload));
    }
    return {};
}

std::expected<void, SessionError> serve(const config::Options& options, Union& united,
                                        Passing& passing, const std::function<void()>& ready) {
    BranchLocks locks;
    LockWaiters waiters;
    Statistics statistics;
    Context context{united,  passing.open_files, passing.housekeeper, locks, waiters,
                    options, statistics};
    context.generation = random_generation();
    context.entry_timeout = seconds(options.cache.entry);
    context.negative_timeout = seconds(options.cache.negative_entry);
    context.attribute_timeout = seconds(options.cache.attributes);

    MountArguments arguments(options);
    const fuse_lowlevel_ops table = operations(options);
    const SessionPointer session(fuse_session_new(arguments.get(), &table, sizeof table, &context));
    if (!session) return refuse("libfuse refused the mount options (see above)");
    context.session = session.get();

    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&blocked, signal);
    ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    const UniqueFd signals(::signalfd(-1, &blocked, SFD_CLOEXEC));
    const UniqueFd ended(::eventfd(0, EFD_CLOEXEC));

    if (fuse_session_mount(session.get(), options.mountpoint.c_str()) != 0) {
        return refuse(fmt::format("{}: could not be mounted (see above)", options.mountpoint));
    }
    std::optional<Serving> serving(std::in_place, passing, session.get());
    const RequestServer server{session.get(), options.debug};
    RingLoop rings(ring_thread_count(options), statistics);
    if (const auto begun = begin(context, server, rings); !begun) {
        serving.reset();
        fuse_session_unmount(session.get());
        rings.stop();
        return refuse(fmt::format("{}: the kernel did not begin: {}", options.mountpoint,
                                  begun.error().message()));
    }
    {
        const DeviceLoop loop(server, thread_count(context), statistics, [&] {
            const std::uint64_t one = 1;
            if (::write(ended.get(), &one, sizeof one) != sizeof one) std::abort();
        });
        struct stat mounted{};
        // Served by the loop: the mount answers. Also tells its connection.
        if (::stat(options.mountpoint.c_str(), &mounted) != 0) {
            spdlog::error("{}: does not answer", options.mountpoint);
        }
        ready();
        wait_until_unmounted(options.mountpoint, minor(mounted.st_dev), signals.get(), ended.get());
    }
    rings.stop();
    waiters.end();
    serving.reset();
    fuse_session_unmount(session.get());
    return {};
}

}  // namespace

std::expected<void, SessionError> mount_and_serve(const config::Options& options,
                                                  const std::function<void()>& ready) {
    UnionOptions wanted = union_options(options);
    auto branches = open_branches(options);
    if (!branches) return std::unexpected(branches.error());
    if (!options.read_only) {
        const auto prepared = prepare_branches(options, *branches);
        if (!prepared) return prepared;
    }
    Passing passing(options);
    wanted.outdated = [&](NodeId parent, const std::string& name) {
        passing.housekeeper.expire_entry(parent, name);
    };
    wanted.destroyed = [&](NodeId node) { passing.open_files.forget(node); };
    Union united(*std::move(branches), std::move(wanted));
    if (!options.read_only) {
        const IndexSweep swept = united.sweep_indexes();
        if (swept.removed > 0) spdlog::info("{} removed files swept", swept.removed);
    }
    auto served = serve(options, united, passing, ready);
    united.release_work();
    if (!options.read_only) release_branches(options, united.branches());
    return served;
}

}  // namespace plyfs::session
