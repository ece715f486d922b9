// SPDX-License-Identifier: GPL-2.0-or-later
//
// unlink and rmdir over several branches, and what stays of objects that are still referred to.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {

namespace fs = std::filesystem;

TEST_CASE("unlink removes every copy", "[unlink]") {
    DrivenUnion u({kRw, kRw, {}});
    for (const std::size_t branch : {0U, 1U, 2U}) host_write(u.host(branch, "f"), "x");
    SECTION("epall") {
        CHECK(u.unlink("f") == 0);
        for (const std::size_t branch : {0U, 1U, 2U}) CHECK_FALSE(exists(u.host(branch, "f")));
        CHECK(code(u.look("f")) == ENOENT);
    }
    SECTION("not over a directory of the same name below it") {
        fs::remove(u.host(2, "f"));
        fs::create_directory(u.host(2, "f"));
        CHECK(u.unlink("f") == 0);
        CHECK(u.stat("f")->is_directory());
    }
}

TEST_CASE("unlink takes only what the action policy names", "[unlink]") {
    DrivenUnion u({kRw, kRw},
                  policies(config::Policy::Ff, config::Policy::Ff, config::Policy::EpFf));
    host_write(u.host(0, "f"), "first");
    host_write(u.host(1, "f"), "second");
    CHECK(u.unlink("f") == 0);
    CHECK(*u.read("f") == "second");
}

TEST_CASE("unlink and rmdir refuse the other kind", "[unlink]") {
    DrivenUnion u({kRw});
    CHECK(u.mkdir("d") == 0);
    CHECK(u.write("f", "x") == 0);
    CHECK(u.unlink("d") == EISDIR);
    CHECK(u.rmdir("f") == ENOTDIR);
    CHECK(u.unlink("none") == ENOENT);
    CHECK(u.rmdir("none") == ENOENT);
}

TEST_CASE("rmdir removes a merged directory from every branch", "[rmdir]") {
    DrivenUnion u({kRw, kRw, {}});
    for (const std::size_t branch : {0U, 1U, 2U}) fs::create_directory(u.host(branch, "d"));
    SECTION("empty") {
        CHECK(u.rmdir("d") == 0);
        for (const std::size_t branch : {0U, 1U, 2U}) CHECK_FALSE(exists(u.host(branch, "d")));
        CHECK(code(u.look("d")) == ENOENT);
    }
    SECTION("with something on one of them: nothing is removed") {
        host_write(u.host(2, "d/f"), "x");
        CHECK(u.rmdir("d") == ENOTEMPTY);
        for (const std::size_t branch : {0U, 1U, 2U}) CHECK(exists(u.host(branch, "d")));
    }
}

TEST_CASE("an unlinked file that is open keeps its attributes and contents", "[unlink]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.write("f", "text") == 0);
    const Entry entry = *u.look("f");
    const OpenedFile file = *u.open("f", O_RDWR);
    REQUIRE(u.unlink("f") == 0);

    const auto attributes = u.verbs().getattr(entry.node);
    REQUIRE(code(attributes) == 0);
    CHECK(attributes->links == 0);
    CHECK(attributes->inode == entry.attributes.inode);
    CHECK(attributes->size == 4);
    CHECK(u.verbs().getattr(entry.node, file.handle)->links == 0);
    AttributeChange change;
    change.size = 2;
    change.mode = 0600;
    CHECK(code(u.verbs().setattr(u.request(), entry.node, change)) == 0);
    CHECK(contents(file) == "te");
    // As after open("/proc/self/fd/N").
    const auto again = u.verbs().open(u.request(), entry.node, O_RDONLY, false);
    REQUIRE(code(again) == 0);
    CHECK(contents(*again) == "te");
    u.verbs().release(again->handle);

    SECTION("while a new file of that name is another one") {
        REQUIRE(u.write("f", "new") == 0);
        CHECK(u.look("f")->node != entry.node);
        CHECK(*u.read("f") == "new");
        CHECK(contents(file) == "te");
    }
    u.verbs().release(file.handle);
}

TEST_CASE("a file unlinked under one of its names is reached by the other", "[unlink]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.write("a", "text") == 0);
    REQUIRE(u.link("a", "b") == 0);
    const Entry entry = *u.look("a");
    SECTION("the other is known") {
        REQUIRE(code(u.look("b")) == 0);
    }
    SECTION("the other is not known") {
        const NodeId node = entry.node;
        u.forget_all();
        REQUIRE(code(u.verbs().getattr(node)) == ESTALE);
    }
    const NodeId node = u.look("a")->node;
    REQUIRE(u.unlink("a") == 0);
    CHECK(u.verbs().getattr(node)->links == 1);
    CHECK(u.look("b")->node == node);
    REQUIRE(u.unlink("b") == 0);
    CHECK(u.verbs().getattr(node)->links == 0);
}

TEST_CASE("special files and symlinks survive their name while they are known", "[unlink]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.symlink("target", "s") == 0);
    REQUIRE(u.mknod("p", S_IFIFO | 0600) == 0);
    const NodeId symlink = u.look("s")->node;
    const NodeId fifo = u.look("p")->node;
    REQUIRE(u.unlink("s") == 0);
    REQUIRE(u.unlink("p") == 0);
    CHECK(*u.verbs().readlink(symlink) == "target");
    CHECK(u.verbs().getattr(symlink)->links == 0);
    CHECK(S_ISFIFO(u.verbs().getattr(fifo)->mode));
}

TEST_CASE("a removed directory that is open takes no names and reads as empty", "[rmdir]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.mkdir("d") == 0);
    fs::create_directory(u.host(1, "d"));
    const Entry entry = *u.look("d");
    const HandleId handle = *u.verbs().opendir(entry.node);
    REQUIRE(u.rmdir("d") == 0);

    CHECK(code(u.verbs().getattr(entry.node)) == 0);
    const auto read = u.read_directory(handle);
    REQUIRE(code(read) == 0);
    for (const Listed& listed : *read) {
        CHECK((listed.name == "." || listed.name == ".."));
    }
    const Name name = *Name::from("new");
    CHECK(code(u.verbs().mkdir(u.request(), entry.node, name, 0755)) == ENOENT);
    CHECK(code(u.verbs().create(u.request(), entry.node, name, 0644, O_RDWR)) == ENOENT);
    CHECK(code(u.verbs().tmpfile(u.request(), entry.node, 0600, O_RDWR)) == ENOENT);
    CHECK(code(u.verbs().lookup(entry.node, name)) == ENOENT);
    REQUIRE(u.write("f", "x") == 0);
    CHECK(code(u.verbs().link(u.request(), u.look("f")->node, entry.node, name)) == ENOENT);
    CHECK(code(u.verbs().rename(u.request(), kRootNode, *Name::from("f"), entry.node, name, 0)) ==
          ENOENT);
    REQUIRE(u.mkdir("d") == 0);
    CHECK(u.look("d")->node != entry.node);
    u.verbs().releasedir(handle);
}

TEST_CASE("a directory that another one was renamed onto is gone like a removed one", "[rename]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(u.mkdir("e") == 0);
    REQUIRE(u.write("e/f", "x") == 0);
    const NodeId covered = u.look("d")->node;
    const NodeId moved = u.look("e")->node;
    REQUIRE(u.rename("e", "d") == 0);
    CHECK(u.look("d")->node == moved);
    CHECK(code(u.verbs().getattr(covered)) == 0);
    CHECK(code(u.verbs().mkdir(u.request(), covered, *Name::from("new"), 0755)) == ENOENT);
    CHECK(u.names("d") == std::vector<std::string>{"f"});
}

}  // namespace plyfs::test
