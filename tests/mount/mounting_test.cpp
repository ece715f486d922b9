// SPDX-License-Identifier: GPL-2.0-or-later
//
// Mounting and unmounting: what the program promises to whoever runs it.
#include <poll.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>
#include <filesystem>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using enum FileSystem;

TEST_CASE("mounting in the background returns when the mount answers", "[mounting]") {
    const Branches branches{Ext4, Ext4};
    put(branches.path(0, "a"), "first");
    put(branches.path(1, "b"), "second");
    const Mount mount(branches.spec());
    CHECK(names(mount.path()) == std::set<std::string>{"a", "b"});
    CHECK(content(mount.path("a")) == "first");
    CHECK(content(mount.path("b")) == "second");
    const MountTableEntry entry = find_mount(mount.path());
    CHECK(entry.type == "fuse.plyfs");
    CHECK(entry.source == branches.spec());
    CHECK(entry.has("default_permissions"));
    CHECK(entry.has("allow_other"));
}

TEST_CASE("the daemon in the background lets go of its parent's output", "[mounting]") {
    const Branches branches{Ext4};
    const std::string mountpoint = make_scratch_directory();
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
    const UniqueFd reader(pipe[0]);
    UniqueFd writer(pipe[1]);
    Process program([&] {
        ::dup2(writer.get(), STDOUT_FILENO);
        ::dup2(writer.get(), STDERR_FILENO);
        ::execl(PLYFS_BINARY, "plyfs", branches.spec().c_str(), mountpoint.c_str(), nullptr);
        return 127;
    });
    REQUIRE(program.wait() == 0);
    const Mount mount = Mount::adopt(mountpoint);
    writer.reset();
    std::array<char, 512> said{};
    pollfd closed{reader.get(), POLLIN, 0};
    ssize_t got = 1;
    while (got > 0 && ::poll(&closed, 1, 10'000) == 1)
        got = ::read(reader.get(), said.data(), said.size());
    CHECK(got == 0);
    CHECK(std::filesystem::read_symlink("/proc/" + std::to_string(mount.daemon()) + "/cwd") == "/");
}

TEST_CASE("the daemon in the background has a session of its own", "[mounting]") {
    const Union united{Ext4};
    CHECK(::getsid(united.mount.daemon()) != ::getsid(0));
}

TEST_CASE("-f stays in front and ends with status 0 when unmounted", "[mounting]") {
    const Branches branches{Ext4};
    Mount mount(branches.spec(), "", Mount::Style::Logging);
    CHECK_FALSE(wait_until_ended(mount.daemon(), 0));
    mount.unmount();
}

TEST_CASE("requests are logged with -d", "[mounting]") {
    const Union united({Ext4}, "", Mount::Style::Logging);
    put(united.path("file"), "content");
    CHECK(united.mount.requests().count({"CREATE"}) == 1);
    CHECK(united.mount.requests().count({"LOOKUP"}) >= 1);
}

TEST_CASE("a signal unmounts cleanly", "[mounting]") {
    const int signal = GENERATE(SIGTERM, SIGINT);
    CAPTURE(signal);
    Union united{Ext4};
    put(united.path("file"), "content");
    ::kill(united.mount.daemon(), signal);
    united.mount.expect_end();
    CHECK(content(united.branches.path(0, "file")) == "content");
}

TEST_CASE("a signal unmounts although a file is open", "[mounting]") {
    Union united{Ext4};
    const UniqueFd open = open_file(united.path("file"), O_RDWR | O_CREAT);
    REQUIRE(open);
    ::kill(united.mount.daemon(), SIGTERM);
    united.mount.expect_end();
    CHECK_FALSE(exists(united.path("file")));
}

TEST_CASE("a busy mount is not unmounted", "[mounting]") {
    const Union united{Ext4};
    const UniqueFd open = open_file(united.path(), O_RDONLY | O_DIRECTORY);
    REQUIRE(open);
    CHECK(outcome(::umount2(united.path().c_str(), 0)) == EBUSY);
    const Ran ran = run({PLYFS_BINARY, "umount", united.path()});
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("busy"));
    CHECK(find_mount(united.path()).mounted);
}

TEST_CASE("the umount command unmounts", "[mounting]") {
    Union united{Ext4};
    REQUIRE(united.mount.daemon() > 0);  // which nobody restarts: that keeps the mount busy
    SECTION("at once") {
        const Ran ran = run({PLYFS_BINARY, "umount", united.path()});
        CHECK(ran.output.empty());
        CHECK(ran.status == 0);
        united.mount.expect_end();
    }
    SECTION("a relative path with a slash at its end") {
        const std::string parent = united.path().substr(0, united.path().rfind('/'));
        const std::string name = united.path().substr(parent.size() + 1) + "/";
        CHECK(run({PLYFS_BINARY, "umount", name}, parent).status == 0);
        united.mount.expect_end();
    }
    SECTION("lazily while busy") {
        UniqueFd open = open_file(united.path("file"), O_RDWR | O_CREAT);
        REQUIRE(open);
        CHECK(run({PLYFS_BINARY, "umount", "-l", united.path()}).status == 0);
        CHECK_FALSE(find_mount(united.path()).mounted);
        CHECK(write_all(open.get(), "late") == kOk);
        open.reset();
        united.mount.expect_end();
        CHECK(content(united.branches.path(0, "file")) == "late");
    }
}

TEST_CASE("the umount command leaves other mounts alone", "[mounting]") {
    require_sandbox();
    const LoopFileSystem other(Tmpfs, 1 << 20);
    const Ran ran = run({PLYFS_BINARY, "umount", other.path()});
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("not a plyfs mount"));
    CHECK(find_mount(other.path()).mounted);
}

TEST_CASE("the umount command removes a mount whose daemon was killed", "[mounting]") {
    Union united{Ext4};
    const pid_t daemon = united.mount.daemon();
    ::kill(daemon, SIGKILL);
    REQUIRE(wait_until_ended(daemon, 10));
    CHECK(outcome(::access(united.path("file").c_str(), F_OK)) == ENOTCONN);
    CHECK(run({PLYFS_BINARY, "umount", united.path()}).status == 0);
    CHECK_FALSE(find_mount(united.path()).mounted);
    CHECK(reap(daemon) == 128 + SIGKILL);
    united.mount.abandon();
    // The branch is as good as before.
    const Mount again(united.branches.spec());
    put(again.path("file"), "content");
    CHECK(content(united.branches.path(0, "file")) == "content");
}

TEST_CASE("what cannot be mounted is refused and leaves nothing mounted", "[mounting]") {
    require_sandbox();
    const Branches branches{Ext4, Ext4};
    const std::string mountpoint = make_scratch_directory();
    const std::vector<pid_t> before = children();
    make_directory(branches.path(0, "inside"));
    put(branches.path(0, "file"), "");

    struct Refused {
        std::string source;
        std::string mountpoint;
        std::string options;
        std::string reason;
    };
    const std::string& a = branches[0];
    const std::string missing = a + "/missing";
    const Refused all[] = {{missing, mountpoint, "", "No such file or directory"},
                           {a + "/file", mountpoint, "", "not a directory"},
                           {a + ":" + a, mountpoint, "", "twice"},
                           {a + ":" + a + "/inside", mountpoint, "", "inside the branch"},
                           {a, a + "/inside", "", "inside the branch"},
                           {a, missing, "", "No such file"},
                           {a, a + "/file", "", "ot a directory"},
                           {a + "=RO", mountpoint, "", "writable"},
                           {a + "=XX", mountpoint, "", "XX"},
                           {a, branches[0], "", "branch"},
                           {a, "/proc", "", "not an empty directory"},
                           {a, mountpoint, "no_such_option", "no_such_option"},
                           {a, mountpoint, "cache.entry=soon", "soon"},
                           {"", mountpoint, "", ""},
                           {missing + ".yaml", mountpoint, "", "no such file"}};
    const std::size_t count = std::size(all);
    const Refused& refused = all[GENERATE_COPY(range(std::size_t{0}, count))];
    CAPTURE(refused.source, refused.mountpoint, refused.options);
    const std::string options = "minfreespace=0," + refused.options;
    const Ran ran = run({PLYFS_BINARY, refused.source, refused.mountpoint, "-o", options});
    CHECK(ran.status > 0);
    CHECK(ran.status < 128);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs: "));
    CHECK_THAT(ran.output, ContainsSubstring(refused.reason));
    CHECK_FALSE(find_mount(mountpoint).mounted);
    CHECK(children() == before);
}

TEST_CASE("a log that cannot be written is refused before mounting", "[mounting]") {
    const Branches branches{Ext4};
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = run({PLYFS_BINARY, branches.spec(), mountpoint, "-o",
                         "minfreespace=0,log.target=/proc/nowhere"});
    INFO(ran.output);
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("-o options: log.target: "));
    CHECK_THAT(ran.output, ContainsSubstring("/proc/nowhere"));
    CHECK_FALSE(find_mount(mountpoint).mounted);
}

TEST_CASE("-v says what is mounted", "[mounting]") {
    const Branches branches{Ext4};
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = run({PLYFS_BINARY, "-v", branches.spec(), mountpoint, "-o", "minfreespace=0"});
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(mountpoint);
    CHECK(ran.output == "plyfs: " + branches.spec() + " is mounted on " + mountpoint + "\n");
}

TEST_CASE("a mountpoint that is not empty takes nonempty", "[mounting]") {
    const Branches branches{Ext4};
    const Branches covered{Tmpfs};
    put(covered.path(0, "covered"), "");
    const Ran refused = run({PLYFS_BINARY, branches.spec(), covered[0]});
    CHECK(refused.status > 0);
    CHECK_FALSE(find_mount(covered[0]).mounted);
    const Ran ran = run({PLYFS_BINARY, branches.spec(), covered[0], "-o", "nonempty"});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    CHECK(names(covered[0]).empty());
    REQUIRE(::umount2(covered[0].c_str(), 0) == 0);
    for (const pid_t child : children()) reap(child);
    CHECK(names(covered[0]) == std::set<std::string>{"covered"});
}

TEST_CASE("a mountpoint is mounted on once", "[mounting]") {
    const Union united{Ext4};
    const Branches other{Ext4};
    const Ran ran = run({PLYFS_BINARY, other.spec(), united.path()});
    CHECK(ran.status > 0);
    CHECK_THAT(ran.output, ContainsSubstring("already"));
}

TEST_CASE("mount options show in the mount table and act", "[mounting]") {
    const Branches branches{Ext4};
    put(branches.path(0, "file"), "content");

    SECTION("ro") {
        const Mount mount(branches.spec(), "ro");
        CHECK(find_mount(mount.path()).has("ro"));
        CHECK(try_open(mount.path("file"), O_RDWR) == EROFS);
        CHECK(try_open(mount.path("new"), O_RDWR | O_CREAT) == EROFS);
        CHECK(content(mount.path("file")) == "content");
    }
    SECTION("ro without a writable branch") {
        const Mount mount(branches.spec({"RO"}), "ro");
        CHECK(content(mount.path("file")) == "content");
    }
    SECTION("noexec") {
        put(branches.path(0, "program"), "#!/bin/sh\n");
        REQUIRE(::chmod(branches.path(0, "program").c_str(), 0755) == 0);
        const Mount mount(branches.spec(), "noexec");
        CHECK(find_mount(mount.path()).has("noexec"));
        CHECK(outcome(::access(mount.path("program").c_str(), X_OK)) == EACCES);
    }
    SECTION("nodev") {
        REQUIRE(::mknod(branches.path(0, "null").c_str(), S_IFCHR | 0666, 0x103) == 0);
        const Mount mount(branches.spec(), "nodev");
        CHECK(find_mount(mount.path()).has("nodev"));
        CHECK(try_open(mount.path("null"), O_RDONLY) == EACCES);
    }
    SECTION("dev") {
        REQUIRE(::mknod(branches.path(0, "null").c_str(), S_IFCHR | 0666, 0x103) == 0);
        const Mount mount(branches.spec(), "dev");
        CHECK(try_open(mount.path("null"), O_RDONLY) == kOk);
    }
    SECTION("nosuid") {
        const Mount mount(branches.spec(), "nosuid");
        CHECK(find_mount(mount.path()).has("nosuid"));
    }
    SECTION("noatime") {
        const Mount mount(branches.spec(), "noatime");
        CHECK(find_mount(mount.path()).has("noatime"));
    }
    SECTION("fsname and subtype") {
        const Mount mount(branches.spec(), "fsname=the pool,subtype=mergerfs");
        CHECK(find_mount(mount.path()).source == "the\\040pool");
        CHECK(find_mount(mount.path()).type == "fuse.mergerfs");
    }
    SECTION("those of others are taken and ignored") {
        const Mount mount(branches.spec(),
                          "defaults,_netdev,nofail,noauto,x-systemd.requires=/mnt,"
                          "x-systemd.device-timeout=10,default_permissions,allow_other,suid,exec");
        CHECK(content(mount.path("file")) == "content");
        CHECK_FALSE(find_mount(mount.path()).has("nosuid"));
        CHECK_FALSE(find_mount(mount.path()).has("noexec"));
    }
}

// Reads that pass through go by the branch's mount, not by the union's.
TEST_CASE("reading under noatime leaves the access time", "[mounting][passthrough]") {
    const Branches branches{Ext4};
    put(branches.path(0, "file"), "content");
    const Mount mount(branches.spec(), "noatime");
    const auto before = nanoseconds(status(mount.path("file")).st_atim);
    CHECK(content(mount.path("file")) == "content");
    CHECK(nanoseconds(status(branches.path(0, "file")).st_atim) == before);
}

TEST_CASE("set-user-ID programs work unless nosuid is given", "[mounting]") {
    const Branches branches{Ext4};
    const std::string program = branches.path(0, "id");
    std::filesystem::copy_file("/usr/bin/id", program);
    REQUIRE(::chmod(program.c_str(), 04755) == 0);
    const bool suid = GENERATE(true, false);
    const Mount mount(branches.spec(), suid ? "suid" : "nosuid");
    const Ran ran = run({"setpriv", "--reuid=20001", "--clear-groups", mount.path("id"), "-u"});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    CHECK(ran.output == (suid ? "0\n" : "20001\n"));
}

TEST_CASE("a YAML file describes a mount", "[mounting]") {
    const Branches branches{Ext4, Ext4};
    const std::string directory = make_scratch_directory();
    const std::string file = directory + "/pool.yaml";
    put(file, "branches:\n  - path: " + branches[0] + "\n    mode: rw\n  - path: " + branches[1] +
                  "\n    mode: nc\nmin_free_space: 0\npolicies:\n  create: ff\n");
    const Mount mount(file);
    put(mount.path("new"), "content");
    CHECK(exists(branches.path(0, "new")));
    CHECK_FALSE(exists(branches.path(1, "new")));
}

TEST_CASE("a YAML file may name the mountpoint", "[mounting]") {
    const Branches branches{Ext4};
    const std::string mountpoint = make_scratch_directory();
    const std::string file = make_scratch_directory() + "/pool.yml";
    put(file, "mountpoint: " + mountpoint + "\nbranches:\n  - path: " + branches[0] + "\n");
    const Ran ran = run({PLYFS_BINARY, "mount", file});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(mountpoint);
    CHECK(names(mount.path()).empty());
}

TEST_CASE("space is the sum over distinct file systems", "[mounting][statfs]") {
    const Branches branches{Ext4, Ext4, Tmpfs};
    const Mount mount(branches.spec());
    const auto space = [](const std::string& path) {
        struct statvfs found{};
        REQUIRE(outcome(::statvfs(path.c_str(), &found)) == kOk);
        return found;
    };
    const auto all = space(mount.path());
    const auto ext4 = space(branches[0]);
    const auto tmpfs = space(branches[2]);
    const auto bytes = [](const auto& found) { return found.f_blocks * found.f_frsize; };
    CHECK(bytes(all) == bytes(ext4) + bytes(tmpfs));
    CHECK(all.f_files == ext4.f_files + tmpfs.f_files);
    CHECK(all.f_namemax == 255);
    const Ran df = run({"df", "--output=size", "-B1", mount.path()});
    CHECK_THAT(df.output, ContainsSubstring(std::to_string(bytes(all))));
}

TEST_CASE("two unions may have one branch", "[mounting]") {
    const Branches branches{Ext4};
    const Mount one(branches.spec());
    const Mount two(branches.spec(), "cache.entry=0,cache.attr=0");
    put(one.path("file"), "content");
    CHECK(content(two.path("file")) == "content");
}

TEST_CASE("branches may be given relative and by a pattern", "[mounting]") {
    const Branches branches{Ext4};
    make_directory(branches.path(0, "disk1"));
    make_directory(branches.path(0, "disk2"));
    put(branches.path(0, "disk1/a"), "");
    put(branches.path(0, "disk2/b"), "");
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = run({PLYFS_BINARY, "disk*=rw", mountpoint}, branches[0]);
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(mountpoint);
    CHECK(names(mount.path()) == std::set<std::string>{"a", "b"});
}

}  // namespace
}  // namespace plyfs::test
