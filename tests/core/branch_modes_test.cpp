// SPDX-License-Identifier: GPL-2.0-or-later
//
// What may be done on read-only and no-create branches, and what stays hidden.
#include <dirent.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

TEST_CASE("where no branch takes a copy, what is on a read-only one is EROFS to change", "[ro]") {
    DrivenUnion u({kNc, kRo});
    const std::string root = u.host(1);
    fs::create_directories(root + "/d/empty");
    host_write(root + "/d/f", "text");
    fs::create_symlink("target", root + "/d/s");
    const timespec times[2] = {{1000, 0}, {2000, 0}};
    for (const std::string name : {"/d/empty", "/d/f", "/d", ""}) {
        REQUIRE(::utimensat(AT_FDCWD, (root + name).c_str(), times, 0) == 0);
    }
    host_write(u.host(0, "w"), "text");

    AttributeChange change;
    SECTION("setattr") {
        change.size = 0;
        CHECK(u.change("d/f", change) == EROFS);
        CHECK(u.chmod("d/f", 0600) == EROFS);
        CHECK(u.chmod("d", 0700) == EROFS);
        AttributeChange owner;
        owner.uid = 7;
        CHECK(u.change("d/f", owner) == EROFS);
        AttributeChange when;
        when.modification_time = times[0];
        CHECK(u.change("d/f", when) == EROFS);
        CHECK(u.change("d/s", when) == EROFS);
    }
    SECTION("xattrs") {
        CHECK(u.set_xattr("d/f", "trusted.x", "1") == EROFS);
        CHECK(u.set_xattr("d", "trusted.x", "1") == EROFS);
        CHECK(u.remove_xattr("d/f", "trusted.x") == EROFS);
    }
    SECTION("opening for writing") {
        CHECK(code(u.open("d/f", O_RDWR)) == EROFS);
        CHECK(code(u.open("d/f", O_WRONLY)) == EROFS);
        CHECK(code(u.open("d/f", O_RDONLY | O_TRUNC)) == EROFS);
        CHECK(u.write("d/f", "new") == EROFS);
    }
    SECTION("removing and renaming") {
        CHECK(u.unlink("d/f") == EROFS);
        CHECK(u.unlink("d/s") == EROFS);
        CHECK(u.rmdir("d/empty") == EROFS);
        CHECK(u.rename("d/f", "d/g") == EROFS);
        CHECK(u.rename("d", "e") == EROFS);
        CHECK(u.rename("w", "d/f", RENAME_EXCHANGE) == EROFS);
        CHECK(u.rename("d/empty", "e") == EROFS);
        CHECK(u.link("d/f", "d/g") == EROFS);
    }
    CHECK(*u.read("d/f") == "text");
    CHECK(u.names("d") == Names{"empty", "f", "s"});
    for (const std::string name : {"/d/empty", "/d/f", "/d", ""}) {
        const struct stat status = host_stat(root + name);
        CHECK(status.st_mtim.tv_sec == 2000);
        CHECK(status.st_atim.tv_sec == 1000);
    }
}

TEST_CASE("new names go beside what a read-only branch has", "[ro]") {
    DrivenUnion u({kRw, kRo});
    fs::create_directories(u.host(1, "d"));
    host_write(u.host(1, "d/f"), "text");
    const std::uint64_t inode = u.stat("d")->inode;
    REQUIRE(u.write("d/new", "x") == 0);
    CHECK(u.names("d") == Names{"f", "new"});
    CHECK(u.stat("d")->inode == inode);
    CHECK(u.unlink("d/new") == 0);
    CHECK(u.names("d") == Names{"f"});
    CHECK(host_read(u.host(1, "d/f")) == "text");
}

TEST_CASE("a union of read-only branches changes nothing", "[ro]") {
    DrivenUnion u({kRo, kRo});
    fs::create_directory(u.host(1, "d"));
    CHECK(u.mkdir("x") == EROFS);
    CHECK(u.mkdir("d/x") == EROFS);
    CHECK(u.write("x", "1") == EROFS);
    CHECK(u.symlink("t", "x") == EROFS);
    CHECK(code(u.tmpfile("d")) == EROFS);
    CHECK(u.rmdir("d") == EROFS);
    CHECK(u.chmod("", 0700) == EROFS);
    CHECK_FALSE(exists(u.host(0, ".plyfs")));
}

TEST_CASE("a no-create branch is changed in place and gets nothing new", "[nc]") {
    DrivenUnion u({kNc, kRw});
    fs::create_directory(u.host(0, "d"));
    host_write(u.host(0, "d/f"), "text");
    CHECK(u.write("d/f", "new") == 0);
    CHECK(host_read(u.host(0, "d/f")) == "new");
    CHECK(u.chmod("d/f", 0600) == 0);
    CHECK((host_stat(u.host(0, "d/f")).st_mode & 07777) == 0600);
    CHECK(u.write("d/g", "x") == 0);
    CHECK(exists(u.host(1, "d/g")));
    CHECK_FALSE(exists(u.host(0, "d/g")));
    CHECK(u.mkdir("d/e") == 0);
    CHECK(exists(u.host(1, "d/e")));
    CHECK(u.unlink("d/f") == 0);
    CHECK_FALSE(exists(u.host(0, "d/f")));
}

TEST_CASE("the work directory is hidden in the root", "[hidden]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(code(u.verbs().branches()[0]->work().work()) == 0);
    REQUIRE(exists(u.host(0, ".plyfs")));
    REQUIRE(u.write("f", "x") == 0);
    CHECK(code(u.look(".plyfs")) == ENOENT);
    CHECK(u.names("") == Names{"f"});
    CHECK(u.mkdir(".plyfs") == EPERM);
    CHECK(u.write(".plyfs", "x") == EPERM);
    CHECK(u.symlink("t", ".plyfs") == EPERM);
    CHECK(u.mknod(".plyfs", S_IFIFO | 0600) == EPERM);
    CHECK(u.link("f", ".plyfs") == EPERM);
    CHECK(u.rename("f", ".plyfs") == EPERM);
    CHECK(u.rename(".plyfs", "g") == EPERM);
    CHECK(u.rename("f", ".plyfs", RENAME_EXCHANGE) == EPERM);
    CHECK(u.unlink(".plyfs") == ENOENT);
    CHECK(u.rmdir(".plyfs") == ENOENT);
    SECTION("and nowhere else") {
        CHECK(u.mkdir("d") == 0);
        CHECK(u.mkdir("d/.plyfs") == 0);
        CHECK(u.names("d") == Names{".plyfs"});
    }
}

TEST_CASE("the kind of the first branch is shown", "[conflict]") {
    DrivenUnion u({kRw, kRw, kRw});
    SECTION("a file over a directory") {
        host_write(u.host(0, "x"), "text");
        fs::create_directory(u.host(1, "x"));
        host_write(u.host(1, "x/inside"), "text");
        CHECK(*u.read("x") == "text");
        CHECK(code(u.look("x/inside")) == ENOTDIR);
        CHECK(u.chmod("x", 0600) == 0);
        CHECK((host_stat(u.host(1, "x")).st_mode & 07777) != 0600);
    }
    SECTION("directories around a file") {
        fs::create_directory(u.host(0, "x"));
        host_write(u.host(1, "x"), "text");
        fs::create_directory(u.host(2, "x"));
        host_write(u.host(2, "x/inside"), "text");
        CHECK(u.names("x") == Names{"inside"});
        CHECK(u.rmdir("x") == ENOTEMPTY);
        CHECK(u.unlink("x/inside") == 0);
        CHECK(u.rmdir("x") == 0);
        CHECK(*u.read("x") == "text");
    }
    SECTION("their names are listed once, with the kind that is shown") {
        host_write(u.host(0, "x"), "text");
        fs::create_directory(u.host(1, "x"));
        const auto listed = *u.list("");
        REQUIRE(listed.size() == 1);
        CHECK(listed.front().type == DT_REG);
        CHECK(listed.front().inode == u.stat("x")->inode);
    }
}

TEST_CASE("the search policy decides what is shown", "[policy]") {
    DrivenUnion u({kRw, kRw}, policies(config::Policy::Ff, config::Policy::Newest));
    host_write(u.host(0, "x"), "old");
    const timespec times[2] = {{1000, 0}, {2000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, u.host(0, "x").c_str(), times, 0) == 0);
    SECTION("among files") {
        host_write(u.host(1, "x"), "newer");
        CHECK(*u.read("x") == "newer");
        CHECK(u.list("")->front().inode == u.stat("x")->inode);
        CHECK(u.chmod("x", 0600) == 0);
        CHECK((host_stat(u.host(0, "x")).st_mode & 07777) == 0600);
        CHECK((host_stat(u.host(1, "x")).st_mode & 07777) == 0600);
        CHECK(u.unlink("x") == 0);
        CHECK(code(u.look("x")) == ENOENT);
    }
    SECTION("among kinds") {
        fs::create_directory(u.host(1, "x"));
        CHECK(u.stat("x")->is_directory());
        const auto listed = *u.list("");
        CHECK(listed.front().type == DT_DIR);
        CHECK(listed.front().inode == u.stat("x")->inode);
    }
}

TEST_CASE("a symlink put in the place of a directory is not followed", "[hidden]") {
    DrivenUnion u({kRw, kRw}, policies(), GENERATE(1U, 64U));
    const ScratchDirectory outside;
    host_write(outside.path() + "/secret", "text");
    fs::create_directories(u.host(0, "d/e"));
    host_write(u.host(0, "d/e/secret"), "mine");
    const NodeId directory = u.look("d/e")->node;
    const NodeId file = u.look("d/e/secret")->node;
    fs::remove_all(u.host(0, "d"));
    SECTION("the directory itself") {
        fs::create_directory(u.host(0, "d"));
        fs::create_symlink(outside.path(), u.host(0, "d/e"));
    }
    SECTION("one above it") {
        fs::create_directory(outside.path() + "/e");
        host_write(outside.path() + "/e/secret", "text");
        fs::create_symlink(outside.path(), u.host(0, "d"));
    }
    // The cache of open directories is driven out.
    for (const std::string name : {"x", "y"}) {
        REQUIRE(u.mkdir(name) == 0);
        REQUIRE(u.names(name).empty());
    }
    const Name name = *Name::from("secret");
    CHECK(code(u.verbs().lookup(directory, name)) != 0);
    CHECK(code(u.verbs().open(u.request(), file, O_RDWR, false)) == ESTALE);
    CHECK(code(u.verbs().unlink(u.request(), directory, name)) != 0);
    AttributeChange change;
    change.mode = 0600;
    CHECK(code(u.verbs().setattr(u.request(), file, change)) == ESTALE);
    const auto made = u.verbs().mkdir(u.request(), directory, *Name::from("new"), 0755);
    if (made) u.remember(made->node);
    CHECK_FALSE(exists(outside.path() + "/new"));
    CHECK_FALSE(exists(outside.path() + "/e/new"));
    CHECK(host_read(outside.path() + "/secret") == "text");
}

}  // namespace plyfs::test
