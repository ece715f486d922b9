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

TEST_CASE("inode flags are read and set", "[ioctl]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("object");
    const bool directory = GENERATE(false, true);
    directory ? make_directory(path) : put(path, "content");
    const int before = inode_flags(path);
    REQUIRE(set_inode_flags(path, before | FS_NODUMP_FL | FS_NOATIME_FL) == kOk);
    CHECK(inode_flags(path) == (before | FS_NODUMP_FL | FS_NOATIME_FL));
    CHECK(inode_flags(united.branches.path(0, "object")) == inode_flags(path));
    REQUIRE(set_inode_flags(path, before) == kOk);
    CHECK(inode_flags(path) == before);
}

TEST_CASE("immutable and append-only files are", "[ioctl]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("file");
    put(path, "content");
    const int before = inode_flags(path);
    SECTION("immutable") {
        REQUIRE(set_inode_flags(path, before | FS_IMMUTABLE_FL) == kOk);
        CHECK(try_open(path, O_WRONLY) == EPERM);
        CHECK(outcome(::chmod(path.c_str(), 0600)) == EPERM);
        CHECK(outcome(::unlink(path.c_str())) == EPERM);
        CHECK(outcome(::rename(path.c_str(), united.path("new").c_str())) == EPERM);
        CHECK(outcome(::truncate(path.c_str(), 0)) == EPERM);
        CHECK(content(path) == "content");
    }
    SECTION("append-only") {
        REQUIRE(set_inode_flags(path, before | FS_APPEND_FL) == kOk);
        CHECK(try_open(path, O_WRONLY) == EPERM);
        CHECK(try_open(path, O_WRONLY | O_APPEND) == kOk);
        CHECK(outcome(::unlink(path.c_str())) == EPERM);
    }
    REQUIRE(set_inode_flags(path, before) == kOk);
    CHECK(outcome(::unlink(path.c_str())) == kOk);
}

// EXT4_EXTENTS_FL, which ext4 shows and xfs does not know.
TEST_CASE("flags are changed where the layers' file systems have different ones", "[ioctl]") {
    const bool from_ext4 = GENERATE(true, false);
    const Branches branches{from_ext4 ? Xfs : Ext4, from_ext4 ? Ext4 : Xfs};
    const bool directory = GENERATE(false, true);
    const std::string lower = branches.path(1, "object");
    directory ? make_directory(lower) : put(lower, "content");
    const int of_lower = inode_flags(lower);
    const Mount mount(branches.spec({"RW", "RO"}));
    const std::string path = mount.path("object");
    const std::string upper = branches.path(0, "object");
    REQUIRE(set_inode_flags(path, inode_flags(path) | FS_NODUMP_FL) == kOk);
    CHECK((inode_flags(path) & FS_NODUMP_FL) != 0);
    CHECK((inode_flags(upper) & FS_NODUMP_FL) != 0);
    CHECK((inode_flags(upper) & FS_EXTENT_FL) == (from_ext4 ? 0 : FS_EXTENT_FL));
    REQUIRE(set_inode_flags(path, inode_flags(path) & ~FS_NODUMP_FL) == kOk);
    CHECK((inode_flags(upper) & FS_NODUMP_FL) == 0);
    CHECK(inode_flags(lower) == of_lower);
}

TEST_CASE("only the owner sets inode flags", "[ioctl][permissions]") {
    const Union united{Ext4};
    const std::string path = united.path("file");
    put(path, "content");
    REQUIRE(::chown(path.c_str(), kAlice.uid, kAlice.gid) == 0);
    // ext4 takes extents away only from what has been written back.
    const int flags = inode_flags(path);
    CHECK(as_user(kAlice, [&] { return set_inode_flags(path, flags | FS_NODUMP_FL); }) == kOk);
    CHECK(as_user(kBob, [&] { return set_inode_flags(path, flags | FS_NOATIME_FL); }) == EPERM);
    CHECK(as_user(kAlice, [&] { return set_inode_flags(path, flags | FS_IMMUTABLE_FL); }) == EPERM);
    CHECK((inode_flags(path) & FS_IMMUTABLE_FL) == 0);
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
