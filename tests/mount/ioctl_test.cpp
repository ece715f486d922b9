// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

int flags_of(const std::string& path) {
    const UniqueFd file = open_file(path, O_RDONLY);
    int flags = 0;
    REQUIRE(outcome(::ioctl(file.get(), FS_IOC_GETFLAGS, &flags)) == kOk);
    return flags;
}

Outcome set_flags(const std::string& path, int flags) {
    const UniqueFd file = open_file(path, O_RDONLY);
    return outcome(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags));
}

TEST_CASE("inode flags are read and set", "[ioctl]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("object");
    const bool directory = GENERATE(false, true);
    directory ? make_directory(path) : put(path, "content");
    const int before = flags_of(path);
    REQUIRE(set_flags(path, before | FS_NODUMP_FL | FS_NOATIME_FL) == kOk);
    CHECK(flags_of(path) == (before | FS_NODUMP_FL | FS_NOATIME_FL));
    CHECK(flags_of(united.branches.path(0, "object")) == flags_of(path));
    REQUIRE(set_flags(path, before) == kOk);
    CHECK(flags_of(path) == before);
}

TEST_CASE("immutable and append-only files are", "[ioctl]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("file");
    put(path, "content");
    const int before = flags_of(path);
    SECTION("immutable") {
        REQUIRE(set_flags(path, before | FS_IMMUTABLE_FL) == kOk);
        CHECK(try_open(path, O_WRONLY) == EPERM);
        CHECK(outcome(::chmod(path.c_str(), 0600)) == EPERM);
        CHECK(outcome(::unlink(path.c_str())) == EPERM);
        CHECK(outcome(::rename(path.c_str(), united.path("new").c_str())) == EPERM);
        CHECK(outcome(::truncate(path.c_str(), 0)) == EPERM);
        CHECK(content(path) == "content");
    }
    SECTION("append-only") {
        REQUIRE(set_flags(path, before | FS_APPEND_FL) == kOk);
        CHECK(try_open(path, O_WRONLY) == EPERM);
        CHECK(try_open(path, O_WRONLY | O_APPEND) == kOk);
        CHECK(outcome(::unlink(path.c_str())) == EPERM);
    }
    REQUIRE(set_flags(path, before) == kOk);
    CHECK(outcome(::unlink(path.c_str())) == kOk);
}

TEST_CASE("only the owner sets inode flags", "[ioctl][permissions]") {
    const Union united{Ext4};
    const std::string path = united.path("file");
    put(path, "content");
    REQUIRE(::chown(path.c_str(), kAlice.uid, kAlice.gid) == 0);
    CHECK(as_user(kAlice, [&] { return set_flags(path, FS_NODUMP_FL); }) == kOk);
    CHECK(as_user(kBob, [&] { return set_flags(path, FS_NOATIME_FL); }) == EPERM);
    CHECK(as_user(kAlice, [&] { return set_flags(path, FS_IMMUTABLE_FL); }) == EPERM);
    CHECK((flags_of(path) & FS_IMMUTABLE_FL) == 0);
}

TEST_CASE("the extended attributes of inodes are read and set", "[ioctl]") {
    const Union united{Xfs};
    const std::string path = united.path("file");
    put(path, "content");
    const UniqueFd file = open_file(path, O_RDWR);
    fsxattr attributes{};
    REQUIRE(outcome(::ioctl(file.get(), FS_IOC_FSGETXATTR, &attributes)) == kOk);
    attributes.fsx_xflags |= FS_XFLAG_NODUMP;
    CHECK(outcome(::ioctl(file.get(), FS_IOC_FSSETXATTR, &attributes)) == kOk);
    fsxattr again{};
    REQUIRE(outcome(::ioctl(file.get(), FS_IOC_FSGETXATTR, &again)) == kOk);
    CHECK((again.fsx_xflags & FS_XFLAG_NODUMP) != 0);
}

TEST_CASE("ioctls that are not served say so", "[ioctl]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    put(united.path("file"), "content");
    const UniqueFd file = open_file(united.path("file"), O_RDWR);
    fiemap map{};
    map.fm_length = ~__u64{0};
    const Outcome extents = outcome(::ioctl(file.get(), FS_IOC_FIEMAP, &map));
    CHECK((extents == ENOTTY || extents == EOPNOTSUPP));
    termios terminal{};
    CHECK(outcome(::ioctl(file.get(), TCGETS, &terminal)) == ENOTTY);
    const Outcome frozen = outcome(::ioctl(file.get(), FIFREEZE, 0));
    CHECK((frozen == ENOTTY || frozen == EOPNOTSUPP));
}

}  // namespace
}  // namespace plyfs::test
