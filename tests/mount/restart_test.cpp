// SPDX-License-Identifier: GPL-2.0-or-later
//
// `plyfs restart`: another process goes on with the mount, and nobody who uses it notices.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/layers.h"
#include "mount/mapping.h"
#include "mount/mounted.h"
#include "mount/process.h"
#include "mount/resources.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using Names = std::set<std::string>;
using enum FileSystem;

std::uint64_t restarts(const Mount& mount) {
    return statistics(mount).at("daemon").at("restarts").get<std::uint64_t>();
}

struct CloseDirectory {
    void operator()(DIR* stream) const { ::closedir(stream); }
};
using DirectoryStream = std::unique_ptr<DIR, CloseDirectory>;

// As many further names as there are, at most.
Names read_names(DIR* stream, std::size_t most = SIZE_MAX) {
    Names found;
    while (found.size() < most) {
        const dirent* const entry = ::readdir(stream);
        if (entry == nullptr) break;
        found.insert(entry->d_name);
    }
    return found;
}

// A second process must not get the lock.
Outcome lock_of_other(const std::string& path) {
    return in_process([&] {
        const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        return outcome(::flock(file.get(), LOCK_EX | LOCK_NB));
    });
}

TEST_CASE("open files outlive a restart", "[restart]") {
    const Layout layout = GENERATE(from_range(layouts()));
    if (std::string_view(layout.options).find("io_uring") != std::string_view::npos) return;
    CAPTURE(layout.name);
    // With noatime, branches are reached through clones of their mounts.
    const auto* const more = GENERATE("", "noatime");
    Union united(layout, more);
    put(united.path("file"), "content");
    const std::string path = united.path("file");
    const UniqueFd reader = open_file(path, O_RDONLY);
    const UniqueFd writer = open_file(path, O_RDWR);
    const UniqueFd removed = open_file(united.path("removed"), O_RDWR | O_CREAT);
    REQUIRE(write_all(removed.get(), "ghost") == kOk);
    REQUIRE(::unlink(united.path("removed").c_str()) == 0);
    const UniqueFd unnamed(::open(united.path().c_str(), O_TMPFILE | O_RDWR, 0600));
    REQUIRE(unnamed);
    REQUIRE(write_all(unnamed.get(), "unnamed") == kOk);
    const auto number = status(path).st_ino;

    for (int round = 0; round < 3; ++round) {
        united.mount.restart();
        CHECK(restarts(united.mount) == static_cast<std::uint64_t>(round) + 1);
        CHECK(content(reader.get()) == content(path));
        CHECK(content(removed.get()) == "ghost");
        CHECK(status(removed.get()).st_nlink == 0);
        CHECK(content(unnamed.get()) == "unnamed");
        CHECK(status(path).st_ino == number);
        const std::string text = "content of round " + std::to_string(round);
        REQUIRE(::pwrite(writer.get(), text.data(), text.size(), 0) ==
                static_cast<ssize_t>(text.size()));
        CHECK(content(reader.get()) == text);
        CHECK(content(path) == text);
        REQUIRE(::ftruncate(writer.get(), 3) == 0);
        CHECK(content(path) == "con");
        REQUIRE(outcome(::fsync(writer.get())) == kOk);
    }
    const std::string of_process = "/proc/self/fd/" + std::to_string(unnamed.get());
    CHECK(outcome(::linkat(AT_FDCWD, of_process.c_str(), AT_FDCWD, united.path("named").c_str(),
                           AT_SYMLINK_FOLLOW)) == kOk);
    CHECK(content(united.path("named")) == "unnamed");
}

TEST_CASE("directories that are used outlive a restart", "[restart]") {
    Union united({Ext4, Tmpfs}, "category.create=rand");
    make_directory(united.path("a"));
    make_directory(united.path("a/b"));
    Names all{".", ".."};
    for (int i = 0; i < 3000; ++i) {
        const std::string name = "file " + std::to_string(i);
        put(united.path("a/b/" + name), "");
        all.insert(name);
    }
    const UniqueFd inner = open_file(united.path("a/b"), O_RDONLY | O_DIRECTORY);
    const DirectoryStream stream(::opendir(united.path("a/b").c_str()));
    REQUIRE(stream);
    Names seen = read_names(stream.get(), 100);
    united.mount.restart();
    REQUIRE(::unlink(united.path("a/b/file 7").c_str()) == 0);

    seen.merge(read_names(stream.get()));
    seen.erase("file 7");
    all.erase("file 7");
    CHECK((seen == all));
    ::rewinddir(stream.get());
    CHECK((read_names(stream.get()) == all));
    REQUIRE(::rename(united.path("a").c_str(), united.path("c").c_str()) == 0);
    CHECK(outcome(::mkdirat(inner.get(), "new", 0700)) == kOk);
    CHECK(exists(united.path("c/b/new")));
    CHECK(outcome(::fsync(inner.get())) == kOk);
}

TEST_CASE("names that are not text outlive a restart", "[restart]") {
    Union united({Ext4});
    const std::string name = "\xff\xfe \n\x01";
    make_directory(united.path(name));
    const UniqueFd file = open_file(united.path(name + "/file"), O_RDWR | O_CREAT);
    const UniqueFd directory = open_file(united.path(name), O_RDONLY | O_DIRECTORY);
    united.mount.restart();
    CHECK(write_all(file.get(), "x") == kOk);
    const UniqueFd again(::openat(directory.get(), "file", O_RDONLY));
    CHECK(content(again.get()) == "x");
}

TEST_CASE("locks outlive a restart", "[restart][locks]") {
    const auto* const scope = GENERATE("locks=local", "locks=branch");
    Union united({Ext4}, scope);
    const std::string path = united.path("file");
    put(path, "0123456789");
    const UniqueFd whole = open_file(path, O_RDWR);
    REQUIRE(::flock(whole.get(), LOCK_EX) == 0);
    put(united.path("ranges"), "0123456789");
    const UniqueFd ranges = open_file(united.path("ranges"), O_RDWR);
    struct flock range{};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_len = 4;
    REQUIRE(::fcntl(ranges.get(), F_SETLK, &range) == 0);
    const auto range_of_other = [&] {
        return in_process([&] {
            const UniqueFd file(::open(united.path("ranges").c_str(), O_RDWR | O_CLOEXEC));
            struct flock wanted = range;
            return outcome(::fcntl(file.get(), F_SETLK, &wanted));
        });
    };
    united.mount.restart();
    CHECK(lock_of_other(path) == EAGAIN);
    CHECK(range_of_other() == EAGAIN);
    REQUIRE(::flock(whole.get(), LOCK_UN) == 0);
    range.l_type = F_UNLCK;
    REQUIRE(::fcntl(ranges.get(), F_SETLK, &range) == 0);
    range.l_type = F_WRLCK;
    CHECK(lock_of_other(path) == kOk);
    CHECK(range_of_other() == kOk);
}

TEST_CASE("a restart waits for nobody who waits for a lock", "[restart][locks]") {
    Union united({Ext4}, "locks=branch");
    const std::string path = united.path("file");
    put(path, "");
    const UniqueFd holder = open_file(path, O_RDWR);
    REQUIRE(::flock(holder.get(), LOCK_EX) == 0);
    Process waiter([&] {
        const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        return ::flock(file.get(), LOCK_EX);
    });
    std::optional<Ran> ran;
    CHECK(eventually([&] {
        ran = united.mount.try_restart();
        return ran->status != 0;
    }));
    CHECK_THAT(ran->output,
               ContainsSubstring("waits for a lock") && ContainsSubstring("the daemon goes on"));
    REQUIRE(::flock(holder.get(), LOCK_UN) == 0);
    CHECK(waiter.wait() == 0);
    const auto report = statistics(united.mount);
    CHECK(report.at("daemon").at("failed_restarts") == 1);
    // Processes that were successors before the waiter came: the daemon is the last of them.
    united.mount.follow_daemon(report);
}

TEST_CASE("readers across a copy-up outlive a restart", "[restart][copy_up][readers]") {
    const auto prepare = [](const std::string& lower) {
        put(lower + "/file", "lower");
        put(lower + "/later", "lower");
        REQUIRE(::link((lower + "/file").c_str(), (lower + "/linked").c_str()) == 0);
    };
    const bool snapshot = GENERATE(false, true);
    Layered layered(Ext4, prepare, snapshot ? "readers=snapshot" : "readers=follow");
    const UniqueFd before = open_file(layered.path("file"), O_RDONLY);
    const UniqueFd later = open_file(layered.path("later"), O_RDONLY);
    put(layered.path("file"), "upper");
    const UniqueFd after = open_file(layered.path("file"), O_RDONLY);
    const std::string kept = snapshot ? "lower" : "upper";
    REQUIRE(content(before.get()) == kept);

    layered.mount().restart();
    CHECK(content(before.get()) == kept);
    CHECK(content(after.get()) == "upper");
    CHECK(content(layered.path("file")) == "upper");
    CHECK(content(later.get()) == "lower");
    put(layered.path("later"), "upper");
    CHECK(content(later.get()) == kept);
    CHECK(content(layered.path("later")) == "upper");
    CHECK(content(layered.path("linked")) == "upper");
    CHECK(layered.lower_changes() == "");
    layered.mount().restart();
    CHECK(content(before.get()) == kept);
    CHECK(content(later.get()) == kept);
    CHECK(layered.lower_changes() == "");
}

TEST_CASE("mappings outlive a restart", "[restart][mmap]") {
    const auto* const options = GENERATE("", "passthrough.io=off");
    Union united({Ext4}, options);
    const std::string path = united.path("file");
    put(path, std::string(10'000, 'a'));
    const UniqueFd file = open_file(path, O_RDWR);
    const Mapping mapping(file.get(), 10'000, PROT_READ | PROT_WRITE);
    REQUIRE(mapping.valid());
    mapping.bytes()[1] = '1';
    united.mount.restart();
    CHECK(mapping.bytes()[1] == '1');
    mapping.bytes()[9'000] = '2';
    REQUIRE(::msync(mapping.bytes(), 10'000, MS_SYNC) == 0);
    CHECK(content(united.branches.path(0, "file"))[1] == '1');
    CHECK(content(united.branches.path(0, "file"))[9'000] == '2');
}

TEST_CASE("what is open in passthrough is opened again without another backing",
          "[restart][passthrough]") {
    Union united({Ext4});
    const std::string path = united.path("file");
    put(path, "content");
    const UniqueFd first = open_file(path, O_RDWR);
    united.mount.restart();
    const auto opened = [&] {
        const auto report = statistics(united.mount);
        return std::pair(report.at("opens").at("passthrough").get<int>(),
                         report.at("backings").at("registrations").get<int>());
    };
    UniqueFd second = open_file(path, O_RDWR);
    CHECK(opened() == std::pair(1, 0));
    CHECK(write_all(second.get(), "CON") == kOk);
    CHECK(content(first.get()) == "CONtent");
    second.reset();
    CHECK(eventually([&] { return statistics(united.mount).at("open").at("files") == 1; }));
    // The kernel may have nothing left of it, as far as is known: by an id of its own, if need be.
    second = open_file(path, O_RDWR);
    CHECK(opened().first == 2);
    CHECK(write_all(second.get(), "con") == kOk);
    CHECK(content(first.get()) == "content");
    const UniqueFd third = open_file(path, O_RDONLY);
    CHECK(content(third.get()) == "content");
    CHECK(united.branches.count("file") == 1);
}

TEST_CASE("more files are open than one message can hand over", "[restart]") {
    Union united({Ext4});
    std::vector<UniqueFd> files;
    for (int i = 0; i < 1'000; ++i) {
        files.push_back(open_file(united.path("file " + std::to_string(i)), O_RDWR | O_CREAT));
        REQUIRE(write_all(files.back().get(), std::to_string(i)) == kOk);
    }
    united.mount.restart();
    for (int i = 0; i < 1'000; ++i) {
        REQUIRE(content(files[static_cast<std::size_t>(i)].get()) == std::to_string(i));
    }
    files.clear();
    CHECK(eventually([&] { return statistics(united.mount).at("open").at("files") == 0; }));
    CHECK(
        eventually([&] { return statistics(united.mount).at("backings").at("registered") == 0; }));
}

// For threads, which must not use Catch2.
std::string read_text(int file) {
    std::string text(10'000, '\0');
    text.resize(
        static_cast<std::size_t>(std::max<ssize_t>(::pread(file, text.data(), text.size(), 0), 0)));
    return text;
}

// Does what many programs do, until told to stop; what went wrong.
std::string work(const std::string& directory, const std::atomic<bool>& stop) {
    const auto fault = [&](const char* what) {
        return std::string(what) + ": " + ::strerrordesc_np(errno);
    };
    const auto writes = [](int file, const std::string& text) {
        return ::pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
    };
    for (int round = 0; !stop; ++round) {
        const std::string number = std::to_string(round % 20);
        const std::string path = directory + "/file " + number;
        const std::string text(static_cast<std::size_t>(round % 5'000 + 1), 'a');
        const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        if (!file) return fault("create");
        if (!writes(file.get(), text)) return fault("write");
        const std::string renamed = directory + "/renamed " + number;
        if (::rename(path.c_str(), renamed.c_str()) != 0) return fault("rename");
        const UniqueFd again(::open(renamed.c_str(), O_RDONLY | O_CLOEXEC));
        if (!again) return fault("open");
        if (read_text(again.get()) != text) return "what was written is not what is read";
        if (::unlink(renamed.c_str()) != 0) return fault("unlink");
        if (read_text(file.get()) != text) return "what was removed is not what was written";
        const std::string made = directory + "/directory";
        if (::mkdir(made.c_str(), 0755) != 0) return fault("mkdir");
        if (::rmdir(made.c_str()) != 0) return fault("rmdir");
        const DirectoryStream stream(::opendir(directory.c_str()));
        if (!stream) return fault("opendir");
        if (read_names(stream.get()) != Names{".", "..", "kept"}) return "names that are not there";
    }
    return "";
}

TEST_CASE("restarts lose nothing under load", "[restart][race]") {
    allow_seconds(180);
    const auto* const options = GENERATE("", "passthrough.io=off", "cache.exclusive");
    CAPTURE(options);
    Union united({Ext4, Tmpfs}, std::string("category.create=rand,") + options);
    std::atomic<bool> stop{false};
    std::vector<std::string> faults(4);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < faults.size(); ++i) {
        const std::string directory = united.path("directory " + std::to_string(i));
        make_directory(directory);
        put(directory + "/kept", "");
        threads.emplace_back([&, directory, i] { faults[i] = work(directory, stop); });
    }
    for (int i = 0; i < 10; ++i) {
        united.mount.restart();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    for (const std::string& fault : faults) CHECK(fault == "");
    CHECK(restarts(united.mount) == 10);
}

TEST_CASE("a daemon in front stays until its successor ends", "[restart]") {
    Union united({Ext4}, "", Mount::Style::Logging);
    const pid_t front = united.mount.daemon();
    put(united.path("file"), "content");
    united.mount.restart();
    united.mount.restart();
    CHECK(united.mount.daemon() == front);
    CHECK(content(united.path("file")) == "content");
    CHECK(united.mount.requests().count({"OPEN"}) > 0);
    SECTION("when it is unmounted") {
        united.mount.unmount();
    }
    SECTION("or it is told to end") {
        REQUIRE(::kill(front, SIGTERM) == 0);
        united.mount.expect_end();
    }
}

TEST_CASE("a successor unmounts as its predecessor would", "[restart][volatile]") {
    const Layers layers;
    const std::string mark = layers.path("work/work/incompat/volatile");
    Mount mount("overlay", layers.options() + ",volatile");
    put(mount.path("file"), "changed");
    mount.restart();
    CHECK(exists(mark));
    put(mount.path("file"), "again");
    mount.restart();
    CHECK(exists(mark));
    REQUIRE(::kill(mount.daemon(), SIGTERM) == 0);
    mount.expect_end();
    CHECK_FALSE(exists(mark));
    CHECK(content(layers.path("upper/file")) == "again");
}

TEST_CASE("work directories are left as without a restart", "[restart]") {
    const Branches branches({Ext4, Tmpfs});
    for (std::size_t i = 0; i < branches.size(); ++i) make_directory(branches.path(i, "directory"));
    {
        Mount mount(branches.spec(), "category.create=epmfs");
        mount.restart();
        put(mount.path("directory/file"), "");
        REQUIRE(::rename(mount.path("directory").c_str(), mount.path("renamed").c_str()) == 0);
        mount.restart();
    }
    CHECK(branches.count(".plyfs") == 0);
    CHECK(branches.count("renamed") == 2);
}

TEST_CASE("a read-only mount restarts", "[restart]") {
    const Branches branches({Ext4});
    put(branches.path(0, "file"), "content");
    Mount mount(branches.spec({"RO"}), "ro");
    const UniqueFd file = open_file(mount.path("file"), O_RDONLY);
    mount.restart();
    CHECK(content(file.get()) == "content");
    CHECK(content(mount.path("file")) == "content");
}

TEST_CASE("what keeps a successor from going on leaves the daemon as it is", "[restart]") {
    const std::string program = make_scratch_directory() + "/plyfs";
    std::filesystem::copy_file(PLYFS_BINARY, program);
    const Branches branches({Ext4});
    Mount mount(branches.spec(), "", Mount::Style::Background, program);
    const UniqueFd file = open_file(mount.path("file"), O_RDWR | O_CREAT);
    const auto fails_with = [&](const std::string& reason) {
        const Ran ran = run({PLYFS_BINARY, "restart", mount.path()});
        CHECK(ran.status == 1);
        CHECK_THAT(ran.output, ContainsSubstring("plyfs: " + mount.path() +
                                                 ": not restarted, the daemon goes on: ") &&
                                   ContainsSubstring(reason));
        CHECK(write_all(file.get(), "x") == kOk);
        CHECK(exists(mount.path("file")));
        CHECK(restarts(mount) == 0);
    };
    SECTION("no program") {
        REQUIRE(::unlink(program.c_str()) == 0);
        fails_with(program + ": No such file or directory");
    }
    SECTION("another program") {
        REQUIRE(::unlink(program.c_str()) == 0);
        std::filesystem::copy_file("/bin/true", program);
        fails_with("the new process ended before it could go on");
    }
    SECTION("another directory in a branch's place") {
        REQUIRE(::rename(branches[0].c_str(), (branches[0] + ".before").c_str()) == 0);
        make_directory(branches[0]);
        fails_with("branch " + branches[0] +
                   ": the path leads to another directory than when it was mounted");
        REQUIRE(::rmdir(branches[0].c_str()) == 0);
        REQUIRE(::rename((branches[0] + ".before").c_str(), branches[0].c_str()) == 0);
    }
    SECTION("no branch") {
        REQUIRE(::rename(branches[0].c_str(), (branches[0] + ".before").c_str()) == 0);
        fails_with(branches[0]);
        REQUIRE(::rename((branches[0] + ".before").c_str(), branches[0].c_str()) == 0);
    }
    SECTION("nothing, afterwards") {
        mount.restart();
        CHECK(restarts(mount) == 1);
    }
}

TEST_CASE("only who may restarts", "[restart]") {
    Union united({Ext4}, "allow_other");
    REQUIRE(::chmod(united.path().c_str(), 0755) == 0);
    const Ran ran = run({"setpriv", "--reuid=20001", "--regid=30001", "--clear-groups",
                         "/usr/sbin/plyfs", "restart", united.path()});
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("only root and who mounted it"));
    CHECK(restarts(united.mount) == 0);
}

TEST_CASE("a restart is not possible with io_uring", "[restart][io_uring]") {
    require_sandbox();
    if (!offer_io_uring()) return;  // nothing to refuse
    const Union united({Ext4}, "io_uring");
    if (!statistics(united.mount).at("kernel").at("features").value("over-io-uring", false)) return;
    const Ran ran = united.mount.try_restart();
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("the daemon goes on: not possible with io_uring"));
    put(united.path("file"), "content");
    CHECK(content(united.path("file")) == "content");
}

TEST_CASE("why a restart failed need not be text", "[restart][stats]") {
    const Branches branches({Ext4});
    const std::string strange = branches[0] + "/\xff";
    make_directory(strange);
    const Mount mount(strange, "");
    REQUIRE(::rename(strange.c_str(), (strange + "x").c_str()) == 0);
    for (int i = 0; i < 2; ++i) {
        const Ran ran = mount.try_restart();
        CHECK(ran.status == 1);
        CHECK_THAT(ran.output, ContainsSubstring("the daemon goes on: "));
    }
    CHECK(statistics(mount).at("daemon").at("failed_restarts") == 2);
}

TEST_CASE("a daemon that is told to end while it restarts ends", "[restart][race]") {
    allow_seconds(120);
    for (int i = 0; i < 30; ++i) {
        // Processes that tests before this one have killed may have left children of theirs.
        const auto others = children();
        const Branches branches({Tmpfs});
        Mount mount(branches.spec());
        put(mount.path("file"), "content");
        const pid_t daemon = mount.daemon();
        Process restart([&] {
            ::execl(PLYFS_BINARY, "plyfs", "restart", mount.path().c_str(), nullptr);
            return 127;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(i));
        const bool had_ended = wait_until_ended(daemon, 0);
        REQUIRE(::kill(daemon, SIGTERM) == 0);
        restart.wait();  // with whatever success
        if (had_ended) {
            mount.follow_daemon(statistics(mount));
            mount.unmount();
            continue;
        }
        // Whoever serves by now is told: it, or a process that is a child of this one then.
        CHECK(eventually([&] { return !find_mount(mount.path()).mounted; }));
        CHECK(wait_until_ended(daemon, 10));
        CHECK(reap(daemon) == 0);
        for (const pid_t child : children()) {
            if (std::ranges::find(others, child) != others.end()) continue;
            CHECK(wait_until_ended(child, 10));
            CHECK(reap(child) == 0);
        }
        mount.abandon();
        CHECK(::rmdir(mount.path().c_str()) == 0);
        CHECK(content(branches.path(0, "file")) == "content");
    }
}

TEST_CASE("a service manager is told of the successor", "[restart]") {
    require_sandbox();
    // sd_notify(3)
    const std::string path = make_scratch_directory() + "/notify";
    const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    Union united({Ext4});
    ::unsetenv("NOTIFY_SOCKET");
    for (int i = 0; i < 2; ++i) {
        united.mount.restart();
        std::string text(100, '\0');
        const ssize_t size = ::recv(socket.get(), text.data(), text.size(), 0);
        REQUIRE(size > 0);
        text.resize(static_cast<std::size_t>(size));
        CHECK(text == "MAINPID=" + std::to_string(united.mount.daemon()));
    }
}

TEST_CASE("a user restarts a mount of their own", "[restart][user]") {
    // fusermount3 looks for the user's name.
    const std::string accounts = make_scratch_directory() + "/passwd";
    put(accounts, content("/etc/passwd") + "alice:x:20001:30001::/:/bin/sh\n");
    REQUIRE(::mount(accounts.c_str(), "/etc/passwd", nullptr, MS_BIND, nullptr) == 0);
    {
        const Branches branches({Ext4});
        const std::string mountpoint = make_scratch_directory();
        for (const std::string& path : {branches[0], mountpoint}) {
            REQUIRE(::chown(path.c_str(), kAlice.uid, kAlice.gid) == 0);
        }
        const auto as_alice = [](std::vector<std::string> words) {
            words.insert(words.begin(), {"setpriv", "--reuid=20001", "--regid=30001",
                                         "--clear-groups", "--inh-caps=-all"});
            return run(words);
        };
        REQUIRE(
            as_alice({"/usr/sbin/plyfs", branches[0], mountpoint, "-o", "minfreespace=0"}).status ==
            0);
        Mount mount = Mount::adopt(mountpoint);
        const Ran ran = as_alice({"sh", "-ec",
                                  "cd " + mountpoint + "; exec 3<>file; echo before >&3;" +
                                      "/usr/sbin/plyfs restart " + mountpoint +
                                      "; echo after >&3; cat file; pwd"});
        CHECK(ran.output == "before\nafter\n" + mountpoint + "\n");
        CHECK(ran.status == 0);
        const Ran report = as_alice({"/usr/sbin/plyfs", "stats", "--json", mountpoint});
        mount.follow_daemon(nlohmann::json::parse(report.output));
    }
    CHECK(::umount2("/etc/passwd", MNT_DETACH) == 0);
}

TEST_CASE("what is no plyfs is not restarted", "[restart]") {
    require_sandbox();
    const std::string directory = make_scratch_directory();
    const Ran ran = run({PLYFS_BINARY, "restart", directory});
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring(directory + ": not a mountpoint"));
    CHECK(run({PLYFS_BINARY, "restart"}).status == 2);
    CHECK(run({PLYFS_BINARY, "take-over", "7"}).status == 2);
    CHECK(run({PLYFS_BINARY, "take-over", "0"}).status == 2);
}

}  // namespace
}  // namespace plyfs::test
