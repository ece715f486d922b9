// SPDX-License-Identifier: GPL-2.0-or-later
//
// Mounts of users who are not root, through the setuid fusermount3.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using enum FileSystem;

constexpr char kPlyfs[] = "/usr/sbin/plyfs";  // where users reach it

// A file of the system with more text at its end, while this lives.
class Extended {
public:
    Extended(std::string file, const std::string& text) : file_(std::move(file)) {
        const std::string copy = make_scratch_directory() + "/copy";
        put(copy, (exists(file_) ? content(file_) : "") + text);
        REQUIRE(::mount(copy.c_str(), file_.c_str(), nullptr, MS_BIND, nullptr) == 0);
    }
    Extended(const Extended&) = delete;
    Extended& operator=(const Extended&) = delete;
    ~Extended() { CHECK(::umount2(file_.c_str(), MNT_DETACH) == 0); }

private:
    std::string file_;
};

Ran run_as(const User& user, std::vector<std::string> words) {
    words.insert(words.begin(),
                 {"setpriv", "--reuid=" + std::to_string(user.uid),
                  "--regid=" + std::to_string(user.gid), "--clear-groups", "--inh-caps=-all"});
    return run(words);
}

// Directories of Alice's, and what it takes to mount them. fusermount3 looks for her name.
struct Home {
    Home() {
        for (std::size_t i = 0; i < branches.size(); ++i) give(branches[i]);
        give(mountpoint);
    }
    static void give(const std::string& path) {
        REQUIRE(outcome(::lchown(path.c_str(), kAlice.uid, kAlice.gid)) == kOk);
    }
    Ran mount(const std::string& options = "",
              std::initializer_list<const char*> modes = {}) const {
        return run_as(kAlice, {kPlyfs, branches.spec(modes), mountpoint, "-o",
                               "minfreespace=0" + (options.empty() ? "" : "," + options)});
    }
    // Mounted without a word.
    Mount mounted(const std::string& options = "") const {
        const Ran ran = mount(options);
        CHECK(ran.output.empty());
        REQUIRE(ran.status == 0);
        return Mount::adopt(mountpoint);
    }
    // A shell of hers in the mount, which ends with the first command that fails.
    Ran shell(const std::string& script) const {
        return run_as(kAlice, {"sh", "-ec", "cd " + mountpoint + "; " + script});
    }

    Extended accounts{"/etc/passwd", "alice:x:20001:30001::/:/bin/sh\n"
                                     "bob:x:20002:30002::/:/bin/sh\n"};
    Branches branches{Ext4, Tmpfs};
    std::string mountpoint = make_scratch_directory();
};

// Alice's work in the mount; the outcome of a call that must not use Catch2.
Outcome as_alice(const std::function<Outcome()>& action) {
    return as_user(kAlice, action);
}

// Waits until a process has stopped itself; false if it ended.
bool stops(const Process& process) {
    int status = 0;
    return ::waitpid(process.id(), &status, WUNTRACED) == process.id() && WIFSTOPPED(status);
}

TEST_CASE("a user mounts directories of their own", "[user]") {
    const Home home;
    const Mount mount = home.mounted();
    const MountTableEntry entry = find_mount(mount.path());
    CHECK(entry.type == "fuse.plyfs");
    CHECK(entry.has("user_id=20001"));
    CHECK(entry.has("nosuid"));
    CHECK(entry.has("nodev"));
    CHECK(entry.has("default_permissions"));
    CHECK_FALSE(entry.has("allow_other"));

    SECTION("makes, reads, renames and removes files") {
        const Ran ran = home.shell("echo content >file; test $(cat file) = content\n"
                                   "mkdir -p directory/inner; mv file directory/inner/renamed\n"
                                   "echo more >>directory/inner/renamed\n"
                                   "ln directory/inner/renamed linked; ln -s linked symlink\n"
                                   "cmp linked directory/inner/renamed; truncate -s 3 symlink\n"
                                   "test $(cat linked) = con; chmod 600 linked\n"
                                   "mv directory moved; mkfifo fifo; ls -lR\n"
                                   "rm -r moved fifo symlink linked; test -z \"$(ls)\"");
        INFO(ran.output);
        CHECK(ran.status == 0);
        CHECK_THAT(ran.output, ContainsSubstring("alice"));
    }
    SECTION("what is made is theirs") {
        const Ran ran = home.shell("umask 027; touch file; mkdir directory; ln -s target symlink");
        INFO(ran.output);
        REQUIRE(ran.status == 0);
        for (const char* const name : {"file", "directory", "symlink"}) {
            CAPTURE(name);
            std::size_t branch = 0;
            while (branch < 2 && !exists(home.branches.path(branch, name))) ++branch;
            REQUIRE(branch < 2);
            CHECK(status(home.branches.path(branch, name)).st_uid == kAlice.uid);
            CHECK(status(home.branches.path(branch, name)).st_gid == kAlice.gid);
        }
        CHECK(home.shell("test $(stat -c %a file) = 640 && test $(stat -c %a directory) = 750")
                  .status == 0);
    }
    SECTION("is not seen by others") {
        CHECK(outcome(::access(mount.path("").c_str(), F_OK)) == EACCES);
        CHECK(as_user(kBob, [&] { return try_open(mount.path("new"), O_CREAT | O_RDWR); }) ==
              EACCES);
    }
}

TEST_CASE("a user's union spans branches", "[user]") {
    const Home home;
    for (const char* const name : {"deep", "deep/er"}) {
        make_directory(home.branches.path(1, name), 0750);
        Home::give(home.branches.path(1, name));
    }
    put(home.branches.path(1, "deep/er/file"), "second");
    put(home.branches.path(0, "file"), "first");
    Home::give(home.branches.path(1, "deep/er/file"));
    Home::give(home.branches.path(0, "file"));
    {
        const Mount mount = home.mounted("category.create=ff");
        const Ran ran = home.shell("touch deep/er/new; mv -T deep/er/file file; cat file\n"
                                   "mkdir both; mv deep both/deep; rm -r both; ls");
        CHECK(ran.output == "secondfile\n");
        CHECK(ran.status == 0);
    }
    CHECK(home.branches.count("file") == 1);
    CHECK(home.branches.count("both") == 0);
    CHECK(home.branches.count(".plyfs") == 0);
}

// A copy of it would be the wrong user's: files go where the directory is.
TEST_CASE("a user creates in a directory of somebody else's", "[user]") {
    const Home home;
    make_directory(home.branches.path(1, "shared"));
    REQUIRE(::chmod(home.branches.path(1, "shared").c_str(), 01777) == 0);
    const Mount mount = home.mounted("category.create=ff");
    const Ran ran = home.shell("echo content >shared/new; mkdir shared/directory; cat shared/new");
    CHECK(ran.output == "content\n");
    CHECK(ran.status == 0);
    CHECK(exists(home.branches.path(1, "shared/new")));
    CHECK_FALSE(exists(home.branches.path(0, "shared")));
}

TEST_CASE("where a user may not pass files through they are served", "[user][passthrough]") {
    const Home home;
    const std::string log = home.branches.path(1, "log");
    {
        const Mount mount = home.mounted("log.target=" + log);
        const std::string bytes(std::size_t{1} << 20, 'x');
        const auto work = [&] {
            const UniqueFd file = open_file(mount.path("file"), O_RDWR | O_CREAT);
            const UniqueFd other = open_file(mount.path("file"), O_RDWR);
            if (!file || !other) return Outcome(errno);
            if (const Outcome written = write_all(file.get(), bytes); !written.ok()) return written;
            std::string back(bytes.size(), '\0');
            if (::pread(other.get(), back.data(), back.size(), 0) !=
                static_cast<ssize_t>(back.size()))
                return Outcome(EIO);
            return Outcome(back == bytes ? 0 : EIO);
        };
        CHECK(as_alice(work) == kOk);
        CHECK(as_alice(work) == kOk);
        CHECK_THAT(run_as(kAlice, {kPlyfs, "stats", mount.path()}).output,
                   ContainsSubstring(" no privilege\n"));
    }
    // Told once, by its reason.
    const std::string said = content(log);
    const auto first = said.find("passthrough refused: no CAP_SYS_ADMIN");
    CHECK(first != std::string::npos);
    CHECK(said.find("passthrough refused", first + 1) == std::string::npos);
}

TEST_CASE("the umount command unmounts for the user who mounted", "[user]") {
    const Home home;
    Mount mount = home.mounted();
    const Ran others = run_as(kBob, {kPlyfs, "umount", home.mountpoint});
    CHECK(others.status == 1);
    CHECK_THAT(others.output, ContainsSubstring("plyfs: "));
    REQUIRE(find_mount(home.mountpoint).mounted);
    SECTION("at once") {
        const Ran ran = run_as(kAlice, {kPlyfs, "umount", home.mountpoint});
        CHECK(ran.output.empty());
        CHECK(ran.status == 0);
        mount.expect_end();
    }
    SECTION("not while it is busy, lazily then") {
        Process busy([&] {
            if (!become(kAlice) || ::chdir(home.mountpoint.c_str()) != 0) return 1;
            ::kill(::getpid(), SIGSTOP);
            return 0;
        });
        REQUIRE(stops(busy));
        const Ran refused = run_as(kAlice, {kPlyfs, "umount", home.mountpoint});
        CHECK(refused.status == 1);
        CHECK_THAT(refused.output, ContainsSubstring("busy"));
        const Ran ran = run_as(kAlice, {kPlyfs, "umount", "-l", home.mountpoint});
        INFO(ran.output);
        CHECK(ran.status == 0);
        CHECK_FALSE(find_mount(home.mountpoint).mounted);
        busy.signal(SIGKILL);
        busy.wait();
        mount.expect_end();
    }
}

TEST_CASE("a signal unmounts what a user mounted", "[user]") {
    const Home home;
    Mount mount = home.mounted();
    SECTION("idle") {
        ::kill(mount.daemon(), SIGTERM);
        mount.expect_end();
    }
    SECTION("although a file is open") {
        Process busy([&] {
            if (!become(kAlice)) return 1;
            const UniqueFd file = open_file(mount.path("file"), O_RDWR | O_CREAT);
            ::kill(::getpid(), file ? SIGSTOP : SIGKILL);
            return 0;
        });
        REQUIRE(stops(busy));
        ::kill(mount.daemon(), SIGTERM);
        mount.expect_end();
    }
    CHECK(home.branches.count(".plyfs") == 0);
}

TEST_CASE("allow_other of a user takes the administrator's consent", "[user]") {
    const Home home;
    SECTION("without it nothing is mounted, and it says what to do") {
        const Ran ran = home.mount("allow_other");
        CHECK(ran.status > 0);
        CHECK_THAT(ran.output, ContainsSubstring("plyfs: "));
        CHECK_THAT(ran.output, ContainsSubstring("user_allow_other"));
        CHECK_THAT(ran.output, ContainsSubstring("/etc/fuse.conf"));
        CHECK_FALSE(find_mount(home.mountpoint).mounted);
        CHECK(children().empty());
    }
    SECTION("with it others see what permissions let them see") {
        const Extended consent("/etc/fuse.conf", "\nuser_allow_other\n");
        const Mount mount = home.mounted("allow_other");
        REQUIRE(home.shell("echo open >open; echo closed >closed; chmod 600 closed").status == 0);
        CHECK(content(mount.path("open")) == "open\n");
        CHECK(as_user(kBob, [&] { return try_open(mount.path("open"), O_RDONLY); }) == kOk);
        CHECK(as_user(kBob, [&] { return try_open(mount.path("open"), O_RDWR); }) == EACCES);
        CHECK(as_user(kBob, [&] { return try_open(mount.path("closed"), O_RDONLY); }) == EACCES);
        CHECK(as_user(kBob, [&] { return try_open(mount.path("new"), O_CREAT | O_RDWR); }) ==
              EACCES);
    }
}

TEST_CASE("a mountpoint that is not the user's is refused", "[user]") {
    const Home home;
    REQUIRE(::chown(home.mountpoint.c_str(), 0, 0) == 0);
    const Ran ran = home.mount();
    CHECK(ran.status > 0);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs: "));
    CHECK_FALSE(find_mount(home.mountpoint).mounted);
    CHECK(children().empty());
}

TEST_CASE("a user's read-only branch is never changed", "[user][read-only]") {
    const Home home;
    const std::string real = home.branches.path(1, "file");
    put(real, "content");
    make_directory(home.branches.path(1, "directory"));
    put(home.branches.path(1, "directory/inside"), "inside");
    for (const char* const name : {"file", "directory", "directory/inside"})
        Home::give(home.branches.path(1, name));
    REQUIRE(::chmod(real.c_str(), 0666) == 0);
    const timespec long_ago[] = {{1'000'000'000, 0}, {1'000'000'001, 0}};
    const std::string directory = home.branches.path(1, "directory");
    REQUIRE(::utimensat(AT_FDCWD, real.c_str(), long_ago, 0) == 0);
    REQUIRE(::utimensat(AT_FDCWD, directory.c_str(), long_ago, 0) == 0);
    const struct stat before = status(real);
    const struct stat directory_before = status(directory);

    const Ran ran = home.mount("", {"RW", "RO"});
    CHECK_THAT(ran.output, ContainsSubstring("kept read-only by plyfs alone"));
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(home.mountpoint);
    const std::string path = mount.path("file");
    CHECK(home.shell("cat file; ls directory").output == "contentinside\n");
    CHECK(as_alice([&] { return outcome(::truncate(path.c_str(), 3)); }) == kOk);
    CHECK(as_alice([&] { return outcome(::chmod(path.c_str(), 0600)); }) == kOk);
    CHECK(as_alice([&] { return set_xattr(path, "user.name", "value"); }) == kOk);
    CHECK(as_alice([&] { return outcome(::link(path.c_str(), mount.path("new").c_str())); }) ==
          kOk);
    CHECK(home.shell("cat file new").output == "concon");
    CHECK(as_alice([&] { return outcome(::unlink(path.c_str())); }) == kOk);
    CHECK(as_alice([&] { return outcome(::rmdir(mount.path("directory").c_str())); }) == ENOTEMPTY);
    CHECK(home.shell("ls").output == "directory\nnew\n");
    CHECK(home.shell("touch directory/new").status == 0);

    const struct stat after = status(real);
    CHECK(nanoseconds(after.st_atim) == nanoseconds(before.st_atim));
    CHECK(nanoseconds(after.st_mtim) == nanoseconds(before.st_mtim));
    CHECK(nanoseconds(after.st_ctim) == nanoseconds(before.st_ctim));
    CHECK(nanoseconds(status(directory).st_atim) == nanoseconds(directory_before.st_atim));
    CHECK(names(home.branches[1]) == std::set<std::string>{"file", "directory"});
    CHECK(names(directory) == std::set<std::string>{"inside"});
    CHECK(exists(home.branches.path(0, "directory/new")));
}

TEST_CASE("a user's mount under noatime leaves the access time", "[user]") {
    const Home home;
    put(home.branches.path(0, "file"), "content");
    Home::give(home.branches.path(0, "file"));
    const auto before = nanoseconds(status(home.branches.path(0, "file")).st_atim);
    const Mount mount = home.mounted("noatime");
    CHECK(home.shell("cat file").output == "content");
    CHECK(nanoseconds(status(home.branches.path(0, "file")).st_atim) == before);
}

TEST_CASE("a user mounts a fstab line that says so", "[user][fstab]") {
    const Home home;
    const Extended table("/etc/fstab", "\n" + home.branches.spec() + " " + home.mountpoint +
                                           " fuse.plyfs user,noauto,minfreespace=0 0 0\n");
    const Ran ran = run_as(kAlice, {"mount", home.mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    Mount mount = Mount::adopt(home.mountpoint);
    CHECK(find_mount(home.mountpoint).has("user_id=20001"));
    CHECK(find_mount(home.mountpoint).has("noexec"));
    CHECK(home.shell("echo content >file; cat file").output == "content\n");
    const Ran unmounted = run_as(kAlice, {"umount", home.mountpoint});
    INFO(unmounted.output);
    CHECK(unmounted.status == 0);
    mount.expect_end();
}

}  // namespace
}  // namespace plyfs::test
