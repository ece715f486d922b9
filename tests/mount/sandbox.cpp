// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch_test_case_info.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <new>

#include "sys/unique_fd.h"

namespace plyfs::test {

namespace {

constexpr char kScratch[] = "/run/plyfs-tests";
constexpr char kConnections[] = "/sys/fs/fuse/connections";
constexpr char kIoUring[] = "/sys/module/fuse/parameters/enable_uring";
constexpr unsigned kGraceSeconds = 20;

// Shared between the test program and its watchdog.
struct Watched {
    std::atomic<std::time_t> deadline;  // CLOCK_MONOTONIC, seconds; 0: none
    std::array<std::atomic<unsigned>, 64> connections;
    std::array<char, 200> test_case;
    std::atomic<bool> io_uring;  // it was not offered before
};

Watched* watched = nullptr;

std::time_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

[[noreturn]] void die(const char* what) {
    std::cerr << "mount tests: " << what << ": " << std::strerror(errno) << '\n';
    ::_exit(1);
}

void must(int result, const char* what) {
    if (result != 0) die(what);
}

void abort_connections() {
    for (const auto& connection : watched->connections) {
        if (connection == 0) continue;
        std::array<char, 80> path{};
        std::snprintf(path.data(), path.size(), "%s/%u/abort", kConnections, connection.load());
        const int abort = ::open(path.data(), O_WRONLY | O_CLOEXEC);
        if (abort < 0 || ::write(abort, "1", 1) < 0) std::perror(path.data());
        ::close(abort);
    }
}

char io_uring_setting() {
    const UniqueFd file(::open(kIoUring, O_RDONLY | O_CLOEXEC));
    char setting = 0;
    return ::read(file.get(), &setting, 1) == 1 ? setting : '\0';
}

bool set_io_uring(char setting) {
    const UniqueFd file(::open(kIoUring, O_WRONLY | O_CLOEXEC));
    return ::write(file.get(), &setting, 1) == 1;
}

// Waits for the test program and ends as it did.
[[noreturn]] void watch(pid_t program) {
    const int process = static_cast<int>(::syscall(SYS_pidfd_open, program, 0));
    if (process < 0) die("pidfd_open");
    pollfd ended{process, POLLIN, 0};
    bool aborted = false;
    while (::poll(&ended, 1, 1000) <= 0) {
        const std::time_t deadline = watched->deadline;
        if (deadline == 0 || now() < deadline) {
            aborted = false;
            continue;
        }
        if (!aborted) {
            std::cerr << "mount tests: aborting the mounts of \"" << watched->test_case.data()
                      << "\" after " << kTestCaseSeconds << " s\n";
            abort_connections();
            aborted = true;
        } else if (now() >= deadline + kGraceSeconds) {
            std::cerr << "mount tests: \"" << watched->test_case.data() << "\" hangs; killed\n";
            ::kill(program, SIGKILL);
        }
    }
    int status = 0;
    while (::waitpid(program, &status, 0) < 0 && errno == EINTR) {
    }
    if (watched->io_uring) set_io_uring('N');
    if (WIFSIGNALED(status)) {
        std::cerr << "mount tests: died by signal " << WTERMSIG(status) << " in \""
                  << watched->test_case.data() << "\"\n";
        ::_exit(128 + WTERMSIG(status));
    }
    ::_exit(WEXITSTATUS(status));
}

void bind(const char* source, const char* target) {
    must(::mount(source, target, nullptr, MS_BIND, nullptr), target);
}

// Mounts of the sandbox. The mount namespace is shared with the watchdog, which needs the
// connections.
void prepare_mounts() {
    must(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make mounts private");
    must(::mount("proc", "/proc", "proc", 0, nullptr), "mount /proc");
    if (::access((std::string(kConnections) + "/.").c_str(), F_OK) == 0) {
        must(::mount("fusectl", kConnections, "fusectl", 0, nullptr), "mount fusectl");
    }
    must(::mount("tmpfs", "/run", "tmpfs", 0, "mode=755"), "mount /run");
    must(::mkdir("/run/mount", 0755), "mkdir");
    must(::mkdir(kScratch, 0755), "mkdir");
    must(::mount("tmpfs", kScratch, "tmpfs", 0, "mode=755"), "mount the scratch directory");
    must(::mkdir("/run/sbin", 0755), "mkdir");
    must(::mkdir("/run/sbin/upper", 0755), "mkdir");
    must(::mkdir("/run/sbin/work", 0755), "mkdir");
    must(::mount("overlay", "/usr/sbin", "overlay", 0,
                 "lowerdir=/usr/sbin,upperdir=/run/sbin/upper,workdir=/run/sbin/work"),
         "cover /usr/sbin");
    must(::symlink(PLYFS_BINARY, "/usr/sbin/mount.plyfs"), "install the mount helper");
    // A mount, not a link: users may not be able to reach the build directory.
    must(::mknod("/usr/sbin/plyfs", S_IFREG | 0755, 0), "make room for plyfs");
    bind(PLYFS_BINARY, "/usr/sbin/plyfs");
    // For all users, as udev makes it.
    must(::mknod("/run/fuse", S_IFCHR, makedev(10, 229)), "make a FUSE device");
    must(::chmod("/run/fuse", 0666), "chmod");
    bind("/run/fuse", "/dev/fuse");
}

class Watch : public Catch::EventListenerBase {
public:
    using EventListenerBase::EventListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& info) override {
        if (watched == nullptr) return;
        std::snprintf(watched->test_case.data(), watched->test_case.size(), "%s",
                      info.name.c_str());
        watched->deadline = now() + kTestCaseSeconds;
    }
    void testCaseEnded(const Catch::TestCaseStats&) override {
        if (watched != nullptr) watched->deadline = 0;
    }
};
CATCH_REGISTER_LISTENER(Watch)

}  // namespace

void allow_seconds(unsigned seconds) {
    if (watched != nullptr) watched->deadline = now() + seconds;
}

void enter_sandbox() {
    if (::geteuid() != 0 || ::access("/dev/fuse", R_OK | W_OK) != 0) return;
    void* shared =
        ::mmap(nullptr, sizeof(Watched), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("mmap");
    if (::unshare(CLONE_NEWNS | CLONE_NEWPID) != 0) return;
    auto* const memory = new (shared) Watched{};
    const pid_t program = ::fork();
    if (program < 0) die("fork");
    watched = memory;
    if (program > 0) watch(program);
    must(::prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
    prepare_mounts();
}

void require_sandbox() {
    if (watched == nullptr) SKIP("mounting takes root, namespaces and /dev/fuse");
}

bool offer_io_uring() {
    if (watched == nullptr) return false;
    const char setting = io_uring_setting();
    if (setting == 'Y') return true;
    if (setting != 'N' || !set_io_uring('Y')) return false;
    watched->io_uring = true;
    return true;
}

std::string make_scratch_directory() {
    static unsigned number = 0;
    std::string path = std::string(kScratch) + "/" + std::to_string(++number);
    must(::mkdir(path.c_str(), 0755), path.c_str());
    must(::chmod(path.c_str(), 0755), path.c_str());
    return path;
}

void watch_connection(unsigned connection) {
    for (auto& slot : watched->connections) {
        unsigned empty = 0;
        if (slot.compare_exchange_strong(empty, connection)) return;
    }
}

void unwatch_connection(unsigned connection) {
    for (auto& slot : watched->connections) {
        unsigned expected = connection;
        if (slot.compare_exchange_strong(expected, 0)) return;
    }
}

}  // namespace plyfs::test
