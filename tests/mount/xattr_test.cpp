// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

TEST_CASE("extended attributes are set, read, listed and removed", "[xattr]") {
    const Union united(any_layout());
    const std::string path = united.path("object");
    GENERATE(false, true) ? make_directory(path) : put(path, "");
    const auto* const name = GENERATE("user.name", "trusted.name", "security.name");
    CAPTURE(name);

    CHECK(try_get_xattr(path, name) == ENODATA);
    CHECK(outcome(::removexattr(path.c_str(), name)) == ENODATA);
    CHECK(set_xattr(path, name, "x", XATTR_REPLACE) == ENODATA);
    REQUIRE(set_xattr(path, name, "value", XATTR_CREATE) == kOk);
    CHECK(set_xattr(path, name, "again", XATTR_CREATE) == EEXIST);
    CHECK(get_xattr(path, name) == "value");
    CHECK(xattr_names(path).contains(name));
    REQUIRE(set_xattr(path, name, std::string("\0binary\0", 8), XATTR_REPLACE) == kOk);
    CHECK(get_xattr(path, name) == std::string("\0binary\0", 8));
    REQUIRE(set_xattr(path, name, "") == kOk);
    CHECK(get_xattr(path, name).empty());
    REQUIRE(set_xattr(path, name, "0123456789") == kOk);
    std::array<char, 4> small{};
    CHECK(outcome(::getxattr(path.c_str(), name, small.data(), small.size())) == ERANGE);
    CHECK(outcome(::listxattr(path.c_str(), small.data(), small.size())) == ERANGE);
    CHECK(::getxattr(path.c_str(), name, nullptr, 0) == 10);
    REQUIRE(outcome(::removexattr(path.c_str(), name)) == kOk);
    CHECK_FALSE(xattr_names(path).contains(name));
}

TEST_CASE("extended attributes are those of the branch", "[xattr]") {
    const Union united{Ext4, Ext4};
    put(united.branches.path(1, "file"), "");
    REQUIRE(set_xattr(united.branches.path(1, "file"), "user.before", "1") == kOk);
    CHECK(get_xattr(united.path("file"), "user.before") == "1");
    REQUIRE(set_xattr(united.path("file"), "user.after", "2") == kOk);
    CHECK(get_xattr(united.branches.path(1, "file"), "user.after") == "2");
}

TEST_CASE("extended attributes of an open file whose name is gone", "[xattr][unlinked]") {
    const Union united(any_layout());
    put(united.path("file"), "");
    const UniqueFd file = open_file(united.path("file"), O_RDWR);
    REQUIRE(::unlink(united.path("file").c_str()) == 0);
    CHECK(outcome(::fsetxattr(file.get(), "user.name", "value", 5, 0)) == kOk);
    std::array<char, 16> value{};
    CHECK(::fgetxattr(file.get(), "user.name", value.data(), value.size()) == 5);
    CHECK(outcome(::fremovexattr(file.get(), "user.name")) == kOk);
}

TEST_CASE("user attributes are for files and directories only", "[xattr]") {
    const Union united{Ext4};
    const std::string link = united.path("link");
    REQUIRE(::symlink("target", link.c_str()) == 0);
    CHECK(set_xattr(link, "user.name", "value") == EPERM);
    CHECK(set_xattr(link, "trusted.name", "value") == kOk);
    CHECK(get_xattr(link, "trusted.name") == "value");
}

TEST_CASE("trusted attributes are hidden from users", "[xattr][permissions]") {
    const Union united{Ext4};
    const std::string path = united.path("file");
    put(path, "");
    REQUIRE(::chown(path.c_str(), kAlice.uid, kAlice.gid) == 0);
    REQUIRE(set_xattr(path, "trusted.name", "value") == kOk);
    CHECK(as_user(kAlice, [&] { return try_get_xattr(path, "trusted.name"); }) == ENODATA);
    CHECK(as_user(kAlice, [&] { return set_xattr(path, "trusted.more", "value"); }) == EPERM);
    CHECK(as_user(kAlice, [&] { return set_xattr(path, "user.mine", "value"); }) == kOk);
    CHECK(as_user(kBob, [&] { return set_xattr(path, "user.his", "value"); }) == EACCES);
    CHECK(as_user(kAlice, [&] {
              std::array<char, 256> list{};
              const ssize_t size = ::listxattr(path.c_str(), list.data(), list.size());
              const std::string_view all(list.data(),
                                         size > 0 ? static_cast<std::size_t>(size) : 0);
              return all.find("trusted.") == std::string_view::npos ? kOk : Outcome(EEXIST);
          }) == kOk);
}

TEST_CASE("large values, long names and full inodes answer as on ext4", "[xattr]") {
    const Union united{Ext4};
    const Branches plain{Ext4};
    put(united.path("file"), "");
    put(plain.path(0, "file"), "");
    for (const std::size_t size : {0, 1, 1000, 3000, 5000, 65'536, 65'537}) {
        INFO(size);
        CHECK(set_xattr(united.path("file"), "user.large", std::string(size, 'x')) ==
              set_xattr(plain.path(0, "file"), "user.large", std::string(size, 'x')));
    }
    const std::string longest = "user." + std::string(250, 'n');
    CHECK(set_xattr(united.path("file"), longest.c_str(), "x") == kOk);
    CHECK(set_xattr(united.path("file"), (longest + "n").c_str(), "x") == ERANGE);
    CHECK(set_xattr(united.path("file"), "unknown.name", "x") == EOPNOTSUPP);
    CHECK(set_xattr(united.path("file"), "user.", "x") ==
          set_xattr(plain.path(0, "file"), "user.", "x"));
}

TEST_CASE("extended attributes can be turned off", "[xattr]") {
    const Union united({Ext4}, "xattr=noattr,posix-acl=off");
    put(united.path("file"), "");
    CHECK(set_xattr(united.path("file"), "user.name", "value") == EOPNOTSUPP);
    CHECK(try_get_xattr(united.path("file"), "user.name") == EOPNOTSUPP);
}

}  // namespace
}  // namespace plyfs::test
