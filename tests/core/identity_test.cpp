// SPDX-License-Identifier: GPL-2.0-or-later
//
// Inode numbers, nodes and what happens when branches change behind the mount.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <set>

#include "core/driven_union.h"

namespace plyfs::test {

namespace fs = std::filesystem;

TEST_CASE("inode numbers outlive rename, copies of directories and the mount", "[inode]") {
    DrivenUnion u({{BranchMode::ReadWrite, "", UINT64_MAX}, kRw});
    fs::create_directories(u.host(0, "d/e"));
    host_write(u.host(0, "d/e/f"), "text");
    const std::uint64_t directory = u.stat("d")->inode;
    const std::uint64_t deeper = u.stat("d/e")->inode;
    const std::uint64_t file = u.stat("d/e/f")->inode;
    REQUIRE(u.write("d/e/new", "on the other branch") == 0);
    REQUIRE(exists(u.host(1, "d/e/new")));
    SECTION("in this mount") {}
    SECTION("in the next one") {
        u.remount();
    }
    CHECK(u.stat("d")->inode == directory);
    CHECK(u.stat("d/e")->inode == deeper);
    CHECK(u.stat("d/e/f")->inode == file);
    REQUIRE(u.rename("d", "x") == 0);
    u.remount();
    CHECK(u.stat("x")->inode == directory);
    CHECK(u.stat("x/e")->inode == deeper);
    CHECK(u.stat("x/e/f")->inode == file);
}

TEST_CASE("d_ino and d_type are those of stat", "[readdir]") {
    DrivenUnion u({kRw, kRw});
    fs::create_directory(u.host(1, "both"));
    fs::create_directory(u.host(0, "both"));
    fs::create_directory(u.host(1, "one"));
    host_write(u.host(0, "f"), "x");
    host_write(u.host(1, "f"), "x");
    host_write(u.host(1, "g"), "x");
    REQUIRE(u.symlink("t", "s") == 0);
    REQUIRE(u.mknod("p", S_IFIFO | 0600) == 0);
    REQUIRE(u.mkdir("both/inside") == 0);
    for (const std::string path : {"", "both", "both/inside"}) {
        const HandleId handle = u.verbs().opendir(u.look(path)->node).value();
        const auto listed = u.read_directory(handle).value();
        u.verbs().releasedir(handle);
        REQUIRE(listed.size() >= 2);
        CHECK(listed[0].name == ".");
        CHECK(listed[0].inode == u.stat(path)->inode);
        CHECK(listed[1].name == "..");
        const std::string above = path == "both/inside" ? "both" : "";
        CHECK(listed[1].inode == u.stat(above)->inode);
        for (std::size_t index = 2; index < listed.size(); ++index) {
            const std::string name = path + (path.empty() ? "" : "/") + listed[index].name;
            INFO(name);
            const Attributes attributes = u.stat(name).value();
            CHECK(listed[index].inode == attributes.inode);
            CHECK(listed[index].type == IFTODT(attributes.mode));
        }
    }
}

TEST_CASE("a file replaced behind the mount is ESTALE, then another node", "[stale]") {
    const auto kind = GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4);
    const ScratchFileSystem file_system(kind, std::uint64_t{8} << 20);
    DrivenUnion u({{BranchMode::ReadWrite, file_system.path()}});
    REQUIRE(u.write("f", "old") == 0);
    const NodeId old = u.look("f")->node;
    host_write(u.host(0, "new"), "new");
    fs::rename(u.host(0, "new"), u.host(0, "f"));
    AttributeChange change;
    change.size = 0;
    CHECK(code(u.verbs().getattr(old)) == ESTALE);
    CHECK(code(u.verbs().open(u.request(), old, O_RDWR | O_TRUNC, false)) == ESTALE);
    CHECK(code(u.verbs().setattr(u.request(), old, change)) == ESTALE);
    CHECK(u.look("f")->node != old);
    CHECK(u.read("f").value() == "new");
}

TEST_CASE("a directory replaced behind the mount shows its new contents", "[stale]") {
    DrivenUnion u({kRw, kRw});
    for (const std::size_t branch : {0U, 1U}) fs::create_directory(u.host(branch, "d"));
    host_write(u.host(0, "d/old"), "x");
    REQUIRE(u.names("d") == std::vector<std::string>{"old"});
    fs::remove_all(u.host(0, "d"));
    fs::create_directory(u.host(0, "d"));
    host_write(u.host(0, "d/new"), "x");
    CHECK(u.names("d") == std::vector<std::string>{"new"});
}

TEST_CASE("a file renamed behind the mount is the same node under its new name", "[stale]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.write("a", "text") == 0);
    const NodeId node = u.look("a")->node;
    fs::rename(u.host(0, "a"), u.host(0, "b"));
    CHECK(code(u.verbs().getattr(node)) == ESTALE);
    CHECK(u.look("b")->node == node);
    CHECK(code(u.verbs().getattr(node)) == 0);
    REQUIRE(u.rename("b", "a") == 0);
    // Its last name, although it was known under two.
    REQUIRE(u.unlink("a") == 0);
    CHECK(u.verbs().getattr(node).value().links == 0);
}

TEST_CASE("a name taken by another file does not lead to its copies", "[stale]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.write("a", "text") == 0);
    REQUIRE(u.link("a", "b") == 0);
    const NodeId node = u.look("a")->node;
    REQUIRE(u.look("b")->node == node);
    fs::remove(u.host(0, "a"));
    host_write(u.host(0, "a"), "another");
    host_write(u.host(1, "a"), "another");
    AttributeChange change;
    change.mode = 0600;
    CHECK(code(u.verbs().setattr(u.request(), node, change)) == 0);
    CHECK((host_stat(u.host(0, "b")).st_mode & 07777) == 0600);
    CHECK((host_stat(u.host(1, "a")).st_mode & 07777) != 0600);
}

TEST_CASE("branches on one file system keep their inode numbers apart", "[inode]") {
    DrivenUnion u({kRw, kRw, kRw});
    std::set<std::uint64_t> seen;
    for (const std::size_t branch : {0U, 1U, 2U}) {
        const std::string name = "f" + std::to_string(branch);
        host_write(u.host(branch, name), "x");
        seen.insert(u.stat(name)->inode);
    }
    CHECK(seen.size() == 3);
}

TEST_CASE("a file system mounted inside a branch is served", "[mount]") {
    DrivenUnion u({kRw, kRw});
    const ScratchFileSystem inside(FileSystemKind::Tmpfs, std::uint64_t{1} << 20);
    // A branch that contains the mount: the directory above it.
    const fs::path above = fs::path(inside.path()).parent_path();
    const std::string name = fs::path(inside.path()).filename();
    DrivenUnion outer({{BranchMode::ReadWrite, above.string()}, kRw},
                      policies(config::Policy::EpFf));
    REQUIRE(outer.mkdir(name + "/d") == 0);
    REQUIRE(outer.write(name + "/d/f", "x") == 0);
    CHECK(exists(inside.path() + "/d/f"));
    const std::uint64_t inode = outer.stat(name)->inode;
    outer.remount();
    CHECK(outer.stat(name)->inode == inode);
    CHECK(outer.rename(name + "/d/f", name + "/g") == 0);
    SECTION("a parent is made there although the work directory is on another mount") {
        fs::create_directories(outer.host(1, name + "/deep/er"));
        host_write(outer.host(1, name + "/deep/er/f"), "x");
        REQUIRE(outer.link(name + "/g", name + "/deep/er/g") == 0);
        CHECK(exists(inside.path() + "/deep/er/g"));
    }
    fs::remove_all(above / ".plyfs");
}

}  // namespace plyfs::test
