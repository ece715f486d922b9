// SPDX-License-Identifier: GPL-2.0-or-later
//
// rename and link where the two names are on different branches, and directories on several.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

TEST_CASE("rename stays on the branch of the file", "[rename]") {
    DrivenUnion u({kRw, kRw});
    fs::create_directories(u.host(0, "to/deep"));
    fs::create_directories(u.host(1, "from"));
    host_write(u.host(1, "from/f"), "text");
    const Entry before = *u.look("from/f");
    REQUIRE(u.rename("from/f", "to/deep/g") == 0);
    CHECK(host_read(u.host(1, "to/deep/g")) == "text");
    CHECK_FALSE(exists(u.host(0, "to/deep/g")));
    const Entry after = *u.look("to/deep/g");
    CHECK(after.node == before.node);
    CHECK(after.attributes.inode == before.attributes.inode);
    CHECK(code(u.look("from/f")) == ENOENT);
    CHECK(u.names("to/deep") == Names{"g"});
}

TEST_CASE("rename over a file removes its copies on other branches", "[rename]") {
    DrivenUnion u({kRw, kRw, kRw});
    const std::size_t from = GENERATE(0U, 1U, 2U);
    host_write(u.host(from, "from"), "new");
    for (const std::size_t branch : {0U, 1U, 2U}) host_write(u.host(branch, "to"), "old");
    const NodeId node = u.look("from")->node;
    const NodeId covered = u.look("to")->node;
    REQUIRE(u.rename("from", "to") == 0);
    CHECK(*u.read("to") == "new");
    CHECK(u.look("to")->node == node);
    for (const std::size_t branch : {0U, 1U, 2U}) {
        CHECK(exists(u.host(branch, "to")) == (branch == from));
        CHECK_FALSE(exists(u.host(branch, "from")));
    }
    CHECK(u.verbs().getattr(covered)->links == 0);
    CHECK(u.warnings.empty());
}

TEST_CASE("rename of a file with several copies renames each of them", "[rename]") {
    DrivenUnion u({kRw, kRw, kRw});
    for (const std::size_t branch : {0U, 2U}) host_write(u.host(branch, "from"), "new");
    for (const std::size_t branch : {1U, 2U}) host_write(u.host(branch, "to"), "old");
    REQUIRE(u.rename("from", "to") == 0);
    CHECK(u.names("") == Names{"to"});
    CHECK(host_read(u.host(0, "to")) == "new");
    CHECK(host_read(u.host(2, "to")) == "new");
    CHECK_FALSE(exists(u.host(1, "to")));
}

TEST_CASE("rename of a directory on three branches keeps every file", "[rename]") {
    DrivenUnion u({kRw, kRw, kRw}, policies(), GENERATE(1U, 64U));
    for (const std::size_t branch : {0U, 1U, 2U}) {
        fs::create_directories(u.host(branch, "a/sub"));
        host_write(u.host(branch, "a/f" + std::to_string(branch)), "text");
        host_write(u.host(branch, "a/sub/g" + std::to_string(branch)), "text");
    }
    const Entry before = *u.look("a");
    const Entry file = *u.look("a/sub/g2");
    SECTION("in its directory") {
        REQUIRE(u.rename("a", "b") == 0);
    }
    SECTION("onto an empty directory on several branches") {
        for (const std::size_t branch : {1U, 2U}) fs::create_directory(u.host(branch, "b"));
        REQUIRE(code(u.look("b")) == 0);
        REQUIRE(u.rename("a", "b") == 0);
    }
    SECTION("to another directory and back") {
        fs::create_directory(u.host(2, "p"));
        REQUIRE(u.rename("a", "p/b") == 0);
        CHECK(u.names("p/b") == Names{"f0", "f1", "f2", "sub"});
        REQUIRE(u.rename("p/b", "b") == 0);
    }
    SECTION("exchanged with one on a single branch") {
        fs::create_directory(u.host(1, "b"));
        host_write(u.host(1, "b/other"), "text");
        REQUIRE(u.rename("a", "b", RENAME_EXCHANGE) == 0);
        CHECK(u.names("a") == Names{"other"});
        CHECK_FALSE(exists(u.host(0, "a")));
    }
    CHECK(u.names("b") == Names{"f0", "f1", "f2", "sub"});
    CHECK(u.names("b/sub") == Names{"g0", "g1", "g2"});
    CHECK(u.look("b")->node == before.node);
    CHECK(u.look("b")->attributes.inode == before.attributes.inode);
    CHECK(u.look("b/sub/g2")->node == file.node);
    CHECK(code(u.verbs().getattr(file.node)) == 0);
}

TEST_CASE("rename onto a directory that is not empty on some branch changes nothing", "[rename]") {
    DrivenUnion u({kRw, kRw});
    const std::size_t from = GENERATE(0U, 1U);
    const std::size_t full = GENERATE(0U, 1U);
    fs::create_directory(u.host(from, "a"));
    fs::create_directory(u.host(full, "b"));
    host_write(u.host(full, "b/f"), "text");
    SECTION("on one") {}
    SECTION("on both") {
        fs::create_directories(u.host(0, "b"));
        fs::create_directories(u.host(1, "b"));
    }
    CHECK(u.rename("a", "b") == ENOTEMPTY);
    CHECK(exists(u.host(from, "a")));
    CHECK(u.names("b") == Names{"f"});
    CHECK(u.names("") == Names{"a", "b"});
}

TEST_CASE("exchange works over branches", "[rename]") {
    DrivenUnion u({kRw, kRw});
    fs::create_directory(u.host(0, "p"));
    fs::create_directory(u.host(1, "q"));
    host_write(u.host(0, "p/f"), "first");
    host_write(u.host(1, "q/g"), "second");
    const Entry one = *u.look("p/f");
    const Entry other = *u.look("q/g");
    REQUIRE(u.rename("p/f", "q/g", RENAME_EXCHANGE) == 0);
    CHECK(*u.read("p/f") == "second");
    CHECK(*u.read("q/g") == "first");
    CHECK(host_read(u.host(0, "q/g")) == "first");
    CHECK(host_read(u.host(1, "p/f")) == "second");
    CHECK(u.look("q/g")->node == one.node);
    CHECK(u.look("p/f")->node == other.node);
    CHECK(u.rename("p/f", "none", RENAME_EXCHANGE) == ENOENT);
}

TEST_CASE("exchange of a file and a directory", "[rename]") {
    DrivenUnion u({kRw, kRw});
    fs::create_directory(u.host(GENERATE(0U, 1U), "d"));
    host_write(u.host(GENERATE(0U, 1U), "f"), "text");
    const Entry directory = *u.look("d");
    const Entry file = *u.look("f");
    REQUIRE(u.rename("d", "f", RENAME_EXCHANGE) == 0);
    CHECK(u.look("f")->node == directory.node);
    CHECK(u.look("d")->node == file.node);
    CHECK(*u.read("d") == "text");
    CHECK(u.write("f/new", "x") == 0);
    CHECK(u.rename("f/new", "d") == 0);
    CHECK(*u.read("d") == "x");
}

TEST_CASE("rename refuses what rename(2) refuses", "[rename]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(u.mkdir("d/e") == 0);
    REQUIRE(u.mkdir("empty") == 0);
    host_write(u.host(1, "f"), "text");
    REQUIRE(u.write("g", "text") == 0);
    CHECK(u.rename("f", "g", RENAME_NOREPLACE) == EEXIST);
    CHECK(u.rename("none", "g") == ENOENT);
    CHECK(u.rename("d", "d/e/x") == EINVAL);
    CHECK(u.rename("d/e", "d") == ENOTEMPTY);
    CHECK(u.rename("d", "d/e/x", RENAME_EXCHANGE) == ENOENT);
    CHECK(u.rename("d/e", "d", RENAME_EXCHANGE) == EINVAL);
    CHECK(u.rename("d", "g") == ENOTDIR);
    CHECK(u.rename("f", "empty") == EISDIR);
    CHECK(u.rename("empty", "d") == ENOTEMPTY);
    CHECK(u.rename("f", "f") == 0);
    CHECK(u.rename("f", "x", RENAME_EXCHANGE | RENAME_NOREPLACE) == EINVAL);
    CHECK(u.rename("f", "x", 1U << 20) == EINVAL);
    CHECK(u.link("g", "hard") == 0);
    CHECK(u.rename("g", "hard") == 0);
    CHECK(u.names("") == Names{"d", "empty", "f", "g", "hard"});
}

TEST_CASE("rename over a file leaves a shadowed directory of that name alone", "[rename]") {
    DrivenUnion u({kRw, kRw});
    host_write(u.host(0, "from"), "new");
    host_write(u.host(0, "to"), "old");
    fs::create_directories(u.host(1, "to/inside"));
    REQUIRE(u.rename("from", "to") == 0);
    CHECK(*u.read("to") == "new");
    CHECK(exists(u.host(1, "to/inside")));
}

TEST_CASE("an open file is the same after its names were renamed", "[rename]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(u.write("d/f", "text") == 0);
    fs::create_directory(u.host(1, "d"));
    const OpenedFile file = *u.open("d/f", O_RDWR);
    const NodeId node = u.look("d/f")->node;
    const NodeId directory = u.look("d")->node;
    REQUIRE(u.rename("d", "e") == 0);
    REQUIRE(u.rename("e/f", "g") == 0);
    CHECK(code(u.verbs().getattr(node)) == 0);
    CHECK(code(u.verbs().getattr(directory)) == 0);
    CHECK(u.look("g")->node == node);
    CHECK(contents(file) == "text");
    REQUIRE(u.write("new", "other") == 0);
    REQUIRE(u.rename("new", "g") == 0);
    CHECK(u.verbs().getattr(node)->links == 0);
    CHECK(contents(file) == "text");
    u.verbs().release(file.handle);
}

TEST_CASE("link makes the parents that the file's branch lacks", "[link]") {
    DrivenUnion u({kRw, kRw});
    fs::create_directories(u.host(0, "p/q"));
    host_write(u.host(1, "f"), "text");
    const Entry before = *u.look("f");
    REQUIRE(u.link("f", "p/q/g") == 0);
    CHECK(host_read(u.host(1, "p/q/g")) == "text");
    const Entry linked = *u.look("p/q/g");
    CHECK(linked.node == before.node);
    CHECK(linked.attributes.inode == before.attributes.inode);
    CHECK(linked.attributes.links == 2);
    CHECK(u.mkdir("d") == 0);
    CHECK(u.link("d", "e") == EPERM);
    CHECK(u.symlink("f", "s") == 0);
    CHECK(u.link("s", "t") == 0);
    CHECK(*u.read_link("t") == "f");
}

TEST_CASE("hard links are one node whatever name is looked up first", "[link]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.write("a", "text") == 0);
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(u.link("a", "d/b") == 0);
    const std::uint64_t inode = u.stat("a")->inode;
    u.remount();
    CHECK(u.look("d/b")->node == u.look("a")->node);
    CHECK(u.stat("d/b")->inode == inode);
    REQUIRE(u.rename("d", "e") == 0);
    CHECK(u.look("e/b")->node == u.look("a")->node);
    REQUIRE(u.unlink("a") == 0);
    CHECK(u.stat("e/b")->links == 1);
}

}  // namespace plyfs::test
