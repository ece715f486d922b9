// SPDX-License-Identifier: GPL-2.0-or-later
//
// Other users: what they may do, and what they leave behind is theirs.
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

void open_to_all(const Union& united) {
    for (std::size_t i = 0; i < united.branches.size(); ++i)
        REQUIRE(::chmod(united.branches[i].c_str(), 0777) == 0);
    REQUIRE(::chmod(united.path().c_str(), 0777) == 0);
}

// One way to make an object, named `path`, in the directory `parent`. Generated values outlive the
// run that made them, so nothing of a run may be captured here.
using Making = Outcome (*)(const std::string& parent, const std::string& path);

constexpr std::array<Making, 7> kMakings = {
    [](auto&, auto& path) { return try_open(path, O_CREAT | O_WRONLY); },
    [](auto&, auto& path) { return outcome(::mkdir(path.c_str(), 0755)); },
    [](auto&, auto& path) { return outcome(::mkfifo(path.c_str(), 0644)); },
    [](auto&, auto& path) { return outcome(::mknod(path.c_str(), S_IFREG | 0644, 0)); },
    [](auto&, auto& path) { return outcome(::mknod(path.c_str(), S_IFSOCK | 0644, 0)); },
    [](auto&, auto& path) { return outcome(::symlink("target", path.c_str())); },
    [](auto& parent, auto& path) {
        const UniqueFd file = open_file(parent, O_TMPFILE | O_RDWR);
        if (!file) return Outcome(errno);
        const std::string descriptor = "/proc/self/fd/" + std::to_string(file.get());
        return outcome(
            ::linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW));
    },
};

TEST_CASE("what a user makes is the user's", "[permissions]") {
    const Union united(any_layout());
    open_to_all(united);
    const User user{.uid = kAlice.uid, .gid = kAlice.gid, .groups = {kBob.gid}};
    const std::string path = united.path("object");
    const Making make = GENERATE(from_range(kMakings));
    REQUIRE(as_user(user, [&] { return make(united.path(), path); }) == kOk);
    CHECK(status(path).st_uid == user.uid);
    CHECK(status(path).st_gid == user.gid);
}

TEST_CASE("users make no devices", "[permissions]") {
    const Union united{Ext4};
    open_to_all(united);
    const std::string path = united.path("device");
    CHECK(as_user(kAlice, [&] { return outcome(::mknod(path.c_str(), S_IFCHR | 0666, 0x103)); }) ==
          EPERM);
    CHECK_FALSE(exists(path));
}

TEST_CASE("permissions are checked", "[permissions]") {
    const Union united(any_layout());
    make_directory(united.path("private"), 0700);
    put(united.path("private/file"), "secret");
    put(united.path("readable"), "content");
    const std::string readable = united.path("readable");
    const auto as_alice = [](const auto& action) { return as_user(kAlice, action); };
    CHECK(as_alice([&] { return try_open(united.path("private/file"), O_RDONLY); }) == EACCES);
    CHECK(as_alice([&] { return try_open(united.path("private"), O_RDONLY); }) == EACCES);
    CHECK(as_alice([&] { return try_open(readable, O_RDONLY); }) == kOk);
    CHECK(as_alice([&] { return try_open(readable, O_WRONLY); }) == EACCES);
    CHECK(as_alice([&] { return outcome(::truncate(readable.c_str(), 0)); }) == EACCES);
    CHECK(as_alice([&] { return outcome(::chmod(readable.c_str(), 0666)); }) == EPERM);
    CHECK(as_alice([&] { return outcome(::chown(readable.c_str(), kAlice.uid, 0)); }) == EPERM);
    CHECK(as_alice([&] { return outcome(::unlink(readable.c_str())); }) == EACCES);
    CHECK(as_alice([&] { return outcome(::mkdir(united.path("new").c_str(), 0755)); }) == EACCES);
    CHECK(as_alice([&] { return outcome(::utimensat(AT_FDCWD, readable.c_str(), nullptr, 0)); }) ==
          EACCES);
    CHECK(as_alice([&] { return outcome(::access(readable.c_str(), W_OK)); }) == EACCES);
    CHECK(as_alice([&] { return outcome(::access(readable.c_str(), R_OK)); }) == kOk);
}

TEST_CASE("in a sticky directory only owners remove", "[permissions]") {
    const Union united(any_layout());
    make_directory(united.path("tmp"));
    REQUIRE(::chmod(united.path("tmp").c_str(), 01777) == 0);
    const std::string path = united.path("tmp/file");
    REQUIRE(as_user(kAlice, [&] { return try_open(path, O_CREAT | O_WRONLY, 0666); }) == kOk);
    const std::string bobs = united.path("tmp/bob");
    REQUIRE(as_user(kBob, [&] { return try_open(bobs, O_CREAT | O_WRONLY, 0666); }) == kOk);
    CHECK(as_user(kBob, [&] { return outcome(::unlink(path.c_str())); }) == EPERM);
    CHECK(as_user(kBob, [&] {
              return outcome(::rename(path.c_str(), united.path("tmp/new").c_str()));
          }) == EPERM);
    CHECK(as_user(kBob, [&] { return outcome(::rename(bobs.c_str(), path.c_str())); }) == EPERM);
    CHECK(as_user(kAlice, [&] { return outcome(::unlink(path.c_str())); }) == kOk);
}

TEST_CASE("a setgid directory gives its group", "[permissions]") {
    const Union united(any_layout());
    const gid_t group = 30'777;
    const std::string directory = united.path("shared");
    make_directory(directory);
    REQUIRE(::chown(directory.c_str(), 0, group) == 0);
    REQUIRE(::chmod(directory.c_str(), 02775) == 0);
    const User member{.uid = kAlice.uid, .gid = kAlice.gid, .groups = {1, group}};
    const std::string inner = directory + "/inner";
    const std::string file = directory + "/file";
    SECTION("to a member of a supplementary group") {
        REQUIRE(as_user(member, [&] { return outcome(::mkdir(inner.c_str(), 0755)); }) == kOk);
        CHECK(status(inner).st_gid == group);
        CHECK(status(inner).st_uid == kAlice.uid);
        CHECK((mode_of(inner) & S_ISGID) != 0);
        REQUIRE(as_user(member, [&] { return try_open(file, O_CREAT | O_RDWR, 02755); }) == kOk);
        CHECK(status(file).st_gid == group);
        CHECK(mode_of(file) == 02755);
        CHECK(as_user(member, [&] {
                  return outcome(::mkfifo((directory + "/fifo").c_str(), 0644));
              }) == kOk);
        CHECK(as_user(member, [&] {
                  return outcome(::symlink("x", (directory + "/link").c_str()));
              }) == kOk);
    }
    SECTION("but not SGID to who is not a member") {
        REQUIRE(::chmod(directory.c_str(), 02777) == 0);
        REQUIRE(as_user(kAlice, [&] { return try_open(file, O_CREAT | O_RDWR, 02755); }) == kOk);
        CHECK(status(file).st_gid == group);
        CHECK(mode_of(file) == 0755);
    }
    SECTION("not to who may not write there") {
        CHECK(as_user(kBob, [&] { return outcome(::mkdir(inner.c_str(), 0755)); }) == EACCES);
    }
}

TEST_CASE("a user's change clears SUID and SGID", "[permissions][suid]") {
    const Union united(any_layout());
    const std::string path = united.path("program");
    put(path, "content");
    REQUIRE(::chown(path.c_str(), kAlice.uid, kAlice.gid) == 0);
    REQUIRE(::chmod(path.c_str(), 06777) == 0);
    SECTION("write") {
        REQUIRE(as_user(kBob, [&] {
                    const UniqueFd file = open_file(path, O_WRONLY);
                    return write_all(file.get(), "changed");
                }) == kOk);
    }
    SECTION("truncate") {
        REQUIRE(as_user(kBob, [&] { return outcome(::truncate(path.c_str(), 1)); }) == kOk);
    }
    SECTION("ftruncate") {
        REQUIRE(as_user(kBob, [&] {
                    const UniqueFd file = open_file(path, O_WRONLY);
                    return outcome(::ftruncate(file.get(), 1));
                }) == kOk);
    }
    SECTION("O_TRUNC") {
        REQUIRE(as_user(kBob, [&] { return try_open(path, O_WRONLY | O_TRUNC); }) == kOk);
    }
    SECTION("fallocate") {
        REQUIRE(as_user(kBob, [&] {
                    const UniqueFd file = open_file(path, O_WRONLY);
                    return outcome(::fallocate(file.get(), 0, 0, 100));
                }) == kOk);
    }
    SECTION("chown by the owner to a group") {
        const User member{.uid = kAlice.uid, .gid = kAlice.gid, .groups = {kBob.gid}};
        REQUIRE(as_user(member, [&] {
                    return outcome(::chown(path.c_str(), kAlice.uid, kBob.gid));
                }) == kOk);
    }
    SECTION("chown by root") {
        REQUIRE(::chown(path.c_str(), kBob.uid, kBob.gid) == 0);
    }
    CHECK(mode_of(path) == 0777);
    // What the kernel remembers is what is there.
    std::size_t branch = 0;
    while (!exists(united.branches.path(branch, "program"))) ++branch;
    CHECK(mode_of(united.branches.path(branch, "program")) == 0777);
}

TEST_CASE("chmod by a user who is not in the group drops SGID", "[permissions][suid]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "");
    REQUIRE(::chown(path.c_str(), kAlice.uid, kBob.gid) == 0);
    REQUIRE(as_user(kAlice, [&] { return outcome(::chmod(path.c_str(), 02755)); }) == kOk);
    CHECK(mode_of(path) == 0755);
    const User member{.uid = kAlice.uid, .gid = kAlice.gid, .groups = {kBob.gid}};
    REQUIRE(as_user(member, [&] { return outcome(::chmod(path.c_str(), 02755)); }) == kOk);
    CHECK(mode_of(path) == 02755);
}

TEST_CASE("capabilities of a file go when it is written", "[permissions][suid]") {
    const Union united(any_layout());
    const std::string path = united.path("program");
    put(path, "content");
    REQUIRE(::chmod(path.c_str(), 0777) == 0);
    // Version 2, cap_net_raw=ep.
    std::string capability("\x01\0\0\x02\0\x20", 6);
    capability.resize(20);
    REQUIRE(set_xattr(path, "security.capability", capability) == kOk);
    REQUIRE(as_user(kBob, [&] {
                const UniqueFd file = open_file(path, O_WRONLY);
                return write_all(file.get(), "x");
            }) == kOk);
    CHECK(try_get_xattr(path, "security.capability") == ENODATA);
}

// In blocks of 1 KiB and in inodes; 0: no limit.
void limit_space(const LoopFileSystem& where, const User& user, std::uint64_t blocks,
                 std::uint64_t inodes) {
    const UniqueFd root = open_file(where.path(), O_RDONLY | O_DIRECTORY);
    dqblk limits{};
    limits.dqb_bhardlimit = blocks;
    limits.dqb_ihardlimit = inodes;
    limits.dqb_valid = QIF_LIMITS;
    const Outcome set = outcome(
        ::syscall(SYS_quotactl_fd, root.get(), QCMD(Q_SETQUOTA, USRQUOTA), user.uid, &limits));
    if (set == ENOSYS || set == ESRCH) SKIP("the kernel has no quotas");
    REQUIRE(set == kOk);
}

TEST_CASE("the space of a file counts for its owner", "[permissions][quota]") {
    require_sandbox();
    const LoopFileSystem limited(Ext4, 64 << 20, "usrquota", {"-O", "quota"});
    limit_space(limited, kAlice, 1024, 0);
    limit_space(limited, kBob, 0, 10);
    const Mount mount(limited.path(), GENERATE("", "passthrough.io=off"));
    REQUIRE(::chmod(limited.path().c_str(), 0777) == 0);
    REQUIRE(::chmod(mount.path().c_str(), 0777) == 0);
    const auto fill = [&](const std::string& name) {
        return [&, name] {
            const UniqueFd file = open_file(mount.path(name), O_WRONLY | O_CREAT);
            if (!file) return Outcome(errno);
            const std::string bytes(1 << 16, 'x');
            Outcome written;
            for (int i = 0; i < 32 && written.ok(); ++i) written = write_all(file.get(), bytes);
            return written;
        };
    };
    CHECK(as_user(kAlice, fill("blocks")) == EDQUOT);
    const auto make_many = [&] {
        Outcome made;
        for (int i = 0; i < 20 && made.ok(); ++i)
            made = try_open(mount.path(std::to_string(i)), O_CREAT | O_WRONLY);
        return made;
    };
    CHECK(as_user(kBob, make_many) == EDQUOT);
    CHECK(fill("roots")() == kOk);
}

TEST_CASE("blocks that are reserved for root are not a user's", "[permissions][space]") {
    require_sandbox();
    const LoopFileSystem small(Ext4, 16 << 20);
    const Mount mount(small.path(), GENERATE("", "passthrough.io=off"));
    REQUIRE(::chmod(mount.path().c_str(), 0777) == 0);
    const auto fill = [&] {
        const UniqueFd file = open_file(mount.path("file"), O_WRONLY | O_CREAT);
        const std::string bytes(65'536, 'x');
        Outcome written;
        for (int i = 0; i < 1000 && written.ok(); ++i) written = write_all(file.get(), bytes);
        return written;
    };
    CHECK(as_user(kAlice, fill) == ENOSPC);
    const Ran free_blocks = run({"stat", "-f", "-c", "%f %a", small.path()});
    INFO(free_blocks.output);
    CHECK_FALSE(free_blocks.output.starts_with("0 "));
}

TEST_CASE("a mount of one user is closed to others without allow_other", "[permissions]") {
    const Branches branches{Ext4};
    put(branches.path(0, "file"), "content");
    const Mount mount(branches.spec(), "allow_other=off");
    CHECK(content(mount.path("file")) == "content");
    CHECK(as_user(kAlice, [&] { return try_open(mount.path("file"), O_RDONLY); }) == EACCES);
}

}  // namespace
}  // namespace plyfs::test
