// SPDX-License-Identifier: GPL-2.0-or-later
#include <acl/libacl.h>
#include <sys/acl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <memory>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

using Acl = std::unique_ptr<void, int (*)(void*)>;

Outcome set_acl(const std::string& path, acl_type_t type, const char* text) {
    const Acl acl(::acl_from_text(text), ::acl_free);
    REQUIRE(acl);
    return outcome(::acl_set_file(path.c_str(), type, static_cast<acl_t>(acl.get())));
}

std::string get_acl(const std::string& path, acl_type_t type) {
    const Acl acl(::acl_get_file(path.c_str(), type), ::acl_free);
    REQUIRE(acl);
    const std::unique_ptr<char, int (*)(void*)> text(
        ::acl_to_any_text(static_cast<acl_t>(acl.get()), nullptr, ',', TEXT_NUMERIC_IDS),
        ::acl_free);
    REQUIRE(text);
    return text.get();
}

TEST_CASE("an ACL grants and denies", "[acl]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "content");
    REQUIRE(::chmod(path.c_str(), 0640) == 0);
    CHECK(as_user(kAlice, [&] { return try_open(path, O_RDONLY); }) == EACCES);
    REQUIRE(set_acl(path, ACL_TYPE_ACCESS,
                    "user::rw-,user:20001:r--,group::r--,mask::r--,other::---") == kOk);
    CHECK(get_acl(path, ACL_TYPE_ACCESS) ==
          "user::rw-,user:20001:r--,group::r--,mask::r--,other::---");
    CHECK(as_user(kAlice, [&] { return try_open(path, O_RDONLY); }) == kOk);
    CHECK(as_user(kAlice, [&] { return try_open(path, O_RDWR); }) == EACCES);
    CHECK(as_user(kBob, [&] { return try_open(path, O_RDONLY); }) == EACCES);
    SECTION("chmod changes the mask") {
        REQUIRE(::chmod(path.c_str(), 0600) == 0);
        CHECK(get_acl(path, ACL_TYPE_ACCESS) ==
              "user::rw-,user:20001:r--,group::r--,mask::---,other::---");
        CHECK(as_user(kAlice, [&] { return try_open(path, O_RDONLY); }) == EACCES);
    }
    SECTION("without extra entries it is the mode") {
        REQUIRE(set_acl(path, ACL_TYPE_ACCESS, "user::rw-,group::rw-,other::r--") == kOk);
        CHECK(mode_of(path) == 0664);
        CHECK(xattr_names(path).empty());
    }
}

TEST_CASE("a default ACL is inherited, and the umask is not used", "[acl]") {
    const Union united(any_layout());
    const std::string directory = united.path("directory");
    make_directory(directory);
    const char* const acl = "user::rwx,user:20001:rwx,group::r-x,mask::rwx,other::---";
    REQUIRE(set_acl(directory, ACL_TYPE_DEFAULT, acl) == kOk);
    CHECK(get_acl(directory, ACL_TYPE_DEFAULT) == acl);

    const mode_t old = ::umask(077);
    const Outcome file = try_open(directory + "/file", O_CREAT | O_WRONLY, 0666);
    const Outcome inner = outcome(::mkdir((directory + "/inner").c_str(), 0777));
    const Outcome fifo = outcome(::mkfifo((directory + "/fifo").c_str(), 0640));
    const Outcome nameless = [&] {
        const UniqueFd temporary = open_file(directory, O_TMPFILE | O_WRONLY, 0666);
        if (!temporary) return Outcome(errno);
        const std::string descriptor = "/proc/self/fd/" + std::to_string(temporary.get());
        return outcome(::linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD,
                                (directory + "/nameless").c_str(), AT_SYMLINK_FOLLOW));
    }();
    ::umask(old);
    REQUIRE(file == kOk);
    REQUIRE(inner == kOk);
    REQUIRE(fifo == kOk);
    REQUIRE(nameless == kOk);
    CHECK(mode_of(directory + "/file") == 0660);
    CHECK(get_acl(directory + "/file", ACL_TYPE_ACCESS) ==
          "user::rw-,user:20001:rwx,group::r-x,mask::rw-,other::---");
    CHECK(get_acl(directory + "/nameless", ACL_TYPE_ACCESS) ==
          "user::rw-,user:20001:rwx,group::r-x,mask::rw-,other::---");
    CHECK(get_acl(directory + "/inner", ACL_TYPE_ACCESS) == acl);
    CHECK(get_acl(directory + "/inner", ACL_TYPE_DEFAULT) == acl);
    CHECK(get_acl(directory + "/fifo", ACL_TYPE_ACCESS) ==
          "user::rw-,user:20001:rwx,group::r-x,mask::r--,other::---");
    CHECK(as_user(kAlice, [&] { return try_open(directory + "/file", O_RDWR); }) == kOk);
    CHECK(as_user(kBob, [&] { return try_open(directory + "/file", O_RDONLY); }) == EACCES);
}

TEST_CASE("directories made on another branch have the ACLs of the one seen", "[acl]") {
    const Union united({Ext4, Xfs}, "category.create=ff");
    const char* const acl = "user::rwx,user:20001:rwx,group::r-x,mask::rwx,other::---";
    make_directory(united.branches.path(1, "directory"));
    REQUIRE(set_acl(united.branches.path(1, "directory"), ACL_TYPE_DEFAULT, acl) == kOk);
    REQUIRE(set_acl(united.branches.path(1, "directory"), ACL_TYPE_ACCESS, acl) == kOk);
    put(united.path("directory/file"), "");
    CHECK(get_acl(united.branches.path(0, "directory"), ACL_TYPE_DEFAULT) == acl);
    CHECK(get_acl(united.branches.path(0, "directory"), ACL_TYPE_ACCESS) == acl);
    CHECK(exists(united.branches.path(0, "directory/file")));
}

TEST_CASE("setting an ACL clears SGID for those who are not in the group", "[acl][permissions]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "");
    const char* const acl = "user::rwx,user:20002:r-x,group::r-x,mask::r-x,other::---";
    const User member{.uid = kAlice.uid, .gid = kAlice.gid, .groups = {kBob.gid}};
    const bool in_group = GENERATE(false, true);
    REQUIRE(::chown(path.c_str(), kAlice.uid, kBob.gid) == 0);
    REQUIRE(::chmod(path.c_str(), 02755) == 0);
    const Acl parsed(::acl_from_text(acl), ::acl_free);
    CHECK(as_user(in_group ? member : kAlice, [&] {
              return outcome(
                  ::acl_set_file(path.c_str(), ACL_TYPE_ACCESS, static_cast<acl_t>(parsed.get())));
          }) == kOk);
    CHECK(mode_of(path) == (in_group ? 02750 : 0750));
}

TEST_CASE("ACLs can be turned off", "[acl]") {
    const Union united({Ext4}, "posix-acl=off");
    put(united.path("file"), "");
    CHECK(set_acl(united.path("file"), ACL_TYPE_ACCESS,
                  "user::rw-,user:20001:r--,group::r--,mask::r--,other::---") == EOPNOTSUPP);
}

}  // namespace
}  // namespace plyfs::test
