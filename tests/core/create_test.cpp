// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where new objects go, and what happens to the parents that their branch lacks.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {
namespace {

namespace fs = std::filesystem;
using config::Policy;

// user:1:rwx, mask rwx, as system.posix_acl_access keeps it (linux/posix_acl_xattr.h).
std::string acl_for_user_one() {
    struct Entry {
        std::uint16_t tag;
        std::uint16_t permissions;
        std::uint32_t id;
    };
    const Entry entries[] = {{0x01, 7, UINT32_MAX},
                             {0x02, 7, 1},
                             {0x04, 5, UINT32_MAX},
                             {0x10, 7, UINT32_MAX},
                             {0x20, 5, UINT32_MAX}};
    std::string value("\x02\0\0\0", 4);
    value.append(reinterpret_cast<const char*>(entries), sizeof entries);
    return value;
}

}  // namespace

TEST_CASE("create goes to the branch that the policy names", "[create]") {
    SECTION("ff: the first") {
        DrivenUnion u({kRw, kRw});
        CHECK(u.write("f", "x") == 0);
        CHECK(exists(u.host(0, "f")));
        CHECK_FALSE(exists(u.host(1, "f")));
    }
    SECTION("ff: not a read-only or no-create one, nor one below its minimum") {
        DrivenUnion u({kNc, {BranchMode::ReadWrite, "", UINT64_MAX}, kRw});
        CHECK(u.write("f", "x") == 0);
        CHECK(exists(u.host(2, "f")));
    }
    SECTION("mfs: the one with most space") {
        const ScratchFileSystem small(FileSystemKind::Tmpfs, 4 * kMebi);
        const ScratchFileSystem large(FileSystemKind::Tmpfs, 8 * kMebi);
        DrivenUnion u(
            {{BranchMode::ReadWrite, small.path()}, {BranchMode::ReadWrite, large.path()}},
            policies(Policy::Mfs));
        CHECK(u.write("f", "x") == 0);
        CHECK(exists(large.path() + "/f"));
    }
    SECTION("epff: only where the parent is") {
        DrivenUnion u({kRw, kRw}, policies(Policy::EpFf));
        fs::create_directory(u.host(1, "d"));
        CHECK(u.write("d/f", "x") == 0);
        CHECK(exists(u.host(1, "d/f")));
        CHECK_FALSE(exists(u.host(0, "d")));
    }
    SECTION("all: directories on every branch, files on the first") {
        DrivenUnion u({kRw, kRw, {BranchMode::NoCreate}}, policies(Policy::All));
        CHECK(u.mkdir("d") == 0);
        CHECK(exists(u.host(0, "d")));
        CHECK(exists(u.host(1, "d")));
        CHECK_FALSE(exists(u.host(2, "d")));
        CHECK(u.write("d/f", "x") == 0);
        CHECK(exists(u.host(0, "d/f")));
        CHECK_FALSE(exists(u.host(1, "d/f")));
    }
}

TEST_CASE("a parent that the branch lacks is made there like the one seen", "[create]") {
    DrivenUnion u({{BranchMode::ReadWrite, "", UINT64_MAX}, kRw});
    const std::string seen = u.host(0, "a");
    fs::create_directories(seen + "/b");
    REQUIRE(::chown(seen.c_str(), 12, 34) == 0);
    const std::string acl = acl_for_user_one();
    REQUIRE(::setxattr(seen.c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0) == 0);
    REQUIRE(::setxattr(seen.c_str(), "system.posix_acl_default", acl.data(), acl.size(), 0) == 0);
    REQUIRE(::setxattr(seen.c_str(), "trusted.mark", "value", 5, 0) == 0);
    host_chmod(seen, 03770);
    const timespec times[2] = {{1000, 111}, {2000, 222}};
    REQUIRE(::utimensat(AT_FDCWD, seen.c_str(), times, 0) == 0);
    REQUIRE(::utimensat(AT_FDCWD, u.host(1).c_str(), times, 0) == 0);
    const Attributes before = *u.stat("a");

    REQUIRE(u.write("a/b/f", "x") == 0);

    const std::string made = u.host(1, "a");
    const struct stat status = host_stat(made);
    CHECK(status.st_uid == 12);
    CHECK(status.st_gid == 34);
    CHECK((status.st_mode & 07777) == (host_stat(seen).st_mode & 07777));
    CHECK((status.st_mode & 06000) == 02000);
    CHECK(status.st_mtim.tv_sec == 2000);
    CHECK(status.st_mtim.tv_nsec == 222);
    for (const std::string name :
         {"system.posix_acl_access", "system.posix_acl_default", "trusted.mark"}) {
        char expected[256];
        char found[256];
        const ssize_t size = ::getxattr(seen.c_str(), name.c_str(), expected, sizeof expected);
        INFO(name);
        REQUIRE(::getxattr(made.c_str(), name.c_str(), found, sizeof found) == size);
        CHECK(std::string(found, found + size) == std::string(expected, expected + size));
    }
    CHECK(host_stat(u.host(1)).st_mtim.tv_sec == 2000);

    const Attributes after = *u.stat("a");
    CHECK(after.inode == before.inode);
    CHECK(after.modification_time == before.modification_time);
    CHECK(after.mode == before.mode);
    CHECK(u.names("a") == std::vector<std::string>{"b"});
    CHECK(u.names("a/b") == std::vector<std::string>{"f"});
}

TEST_CASE("a full branch hands a new object on to the next", "[create]") {
    const auto kind = GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4);
    const bool work_directory_is_there = GENERATE(false, true);
    const ScratchFileSystem full(kind, 8 * kMebi);
    DrivenUnion u({{BranchMode::ReadWrite, full.path()}, kRw});
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(exists(full.path() + "/d"));
    if (work_directory_is_there) {
        CHECK(code(u.verbs().branches()[0]->work().work()) == 0);
    }
    full.fill();
    // It takes names as long as there are inodes, or room in the blocks of the directory.
    int count = 0;
    while (count < 4000 && !exists(u.host(1, "d"))) {
        REQUIRE(u.mkdir("d/" + std::to_string(count++)) == 0);
        u.forget_all();
    }
    REQUIRE(exists(u.host(1, "d")));
    CHECK(u.names("d").size() == static_cast<std::size_t>(count));
    const std::string last = std::to_string(count - 1);
    CHECK(exists(u.host(1, "d/" + last)));
    CHECK(u.write("d/" + last + "/f", "text") == 0);
    CHECK(*u.read("d/" + last + "/f") == "text");
}

TEST_CASE("where a parent can't be made the next branch is taken", "[create]") {
    DrivenUnion u({kRw, kRw, kRw});
    fs::create_directory(u.host(2, "d"));
    const NodeId directory = u.look("d")->node;
    SECTION("a file is in its place") {
        host_write(u.host(0, "d"), "file");
    }
    SECTION("a symlink is in its place") {
        fs::create_symlink(u.host(2), u.host(0, "d"));
    }
    const auto made = u.verbs().mkdir(u.request(), directory, *Name::from("new"), 0755);
    REQUIRE(code(made) == 0);
    u.remember(made->node);
    CHECK(exists(u.host(1, "d/new")));
    CHECK_FALSE(exists(u.host(2, "d/new")));
}

TEST_CASE("a directory removed behind the mount is made again", "[create]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(u.mkdir("d/e") == 0);
    REQUIRE(u.write("d/e/f", "x") == 0);
    fs::create_directories(u.host(1, "d/e"));
    REQUIRE(u.names("d/e") == std::vector<std::string>{"f"});
    const NodeId directory = u.look("d/e")->node;
    fs::remove_all(u.host(0, "d"));
    SECTION("and looked up since") {
        REQUIRE(code(u.look("d/e")) == 0);
    }
    SECTION("and not looked up since") {}
    const auto made = u.verbs().mkdir(u.request(), directory, *Name::from("new"), 0755);
    REQUIRE(code(made) == 0);
    u.remember(made->node);
    CHECK(exists(u.host(0, "d/e/new")));
    CHECK(code(u.stat("d/e/new")) == 0);
}

TEST_CASE("creations belong to the caller", "[create]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(::chmod(u.host(0).c_str(), 0777) == 0);
    u.caller = {123, 456, 022, {}};
    CHECK(u.mkdir("d", 0777) == 0);
    CHECK(u.write("f", "x", 0666) == 0);
    CHECK(u.symlink("target", "s") == 0);
    CHECK(u.mknod("p", S_IFIFO | 0666) == 0);
    for (const std::string name : {"d", "f", "s", "p"}) {
        INFO(name);
        const Attributes attributes = *u.stat(name);
        CHECK(attributes.uid == 123);
        CHECK(attributes.gid == 456);
        if (name != "s") CHECK((attributes.mode & 0777) == (name == "d" ? 0755 : 0644));
    }
    u.caller = {};
    SECTION("in a setgid directory of a supplementary group") {
        REQUIRE(u.mkdir("g") == 0);
        REQUIRE(::chown(u.host(0, "g").c_str(), 0, 789) == 0);
        host_chmod(u.host(0, "g"), 02775);
        u.caller = {123, 456, 022, 789};
        CHECK(u.write("g/f", "x", 02755) == 0);
        CHECK(u.stat("g/f")->gid == 789);
        CHECK(u.mkdir("g/d") == 0);
        CHECK((u.stat("g/d")->mode & S_ISGID) != 0);
    }
}

TEST_CASE("an existing name is not made again", "[create]") {
    DrivenUnion u({kRw, kRw, {BranchMode::ReadOnly}});
    const std::size_t branch = GENERATE(0U, 1U, 2U);
    host_write(u.host(branch, "f"), "x");
    CHECK(u.mkdir("f") == EEXIST);
    CHECK(u.mknod("f", S_IFREG | 0644) == EEXIST);
    CHECK(u.symlink("t", "f") == EEXIST);
    CHECK(code(u.create("f")) == EEXIST);
    CHECK(u.write("g", "x") == 0);
    CHECK(u.link("g", "f") == EEXIST);
}

TEST_CASE("an unnamed file is linked where it is", "[create][tmpfile]") {
    DrivenUnion u({kRw, kRw});
    fs::create_directory(u.host(1, "d"));
    auto file = u.tmpfile("d");
    REQUIRE(code(file) == 0);
    CHECK(u.names("d").empty());
    CHECK(file->entry.attributes.links == 0);
    CHECK(code(u.verbs().getattr(file->entry.node)) == 0);
    REQUIRE(code(u.look("d")) == 0);
    const auto linked =
        u.verbs().link(u.request(), file->entry.node, u.look("d")->node, *Name::from("named"));
    REQUIRE(code(linked) == 0);
    u.remember(linked->node);
    CHECK(linked->node == file->entry.node);
    CHECK(linked->attributes.inode == file->entry.attributes.inode);
    CHECK(u.stat("d/named")->links == 1);
    u.verbs().release(file->opened.handle);
}

}  // namespace plyfs::test
