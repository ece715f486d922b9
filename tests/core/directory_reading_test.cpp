// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading merged directories: snapshots, offsets, many names; deep trees.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <set>

#include "core/driven_union.h"

namespace plyfs::test {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

TEST_CASE("an open directory shows what was there when reading began", "[readdir]") {
    DrivenUnion u({kRw, kRw});
    host_write(u.host(0, "a"), "x");
    host_write(u.host(1, "b"), "x");
    const HandleId handle = u.verbs().opendir(kRootNode).value();
    const auto first = u.read_directory(handle).value();
    REQUIRE(first.size() == 4);
    REQUIRE(u.write("c", "x") == 0);
    CHECK(u.read_directory(handle, 2).value().size() == 2);
    CHECK(u.read_directory(handle, first[2].next).value().size() == 1);
    CHECK(u.read_directory(handle, first[3].next).value().empty());
    // rewinddir(3).
    CHECK(u.read_directory(handle, 0).value().size() == 5);
    u.verbs().releasedir(handle);
    CHECK(code(u.read_directory(handle)) == EBADF);
}

TEST_CASE("reading goes on at any offset that was given out", "[readdir]") {
    DrivenUnion u({kRw, kRw});
    for (int number = 0; number < 100; ++number) {
        host_write(u.host(number % 2 == 0 ? 0 : 1, std::to_string(number)), "x");
    }
    const HandleId handle = u.verbs().opendir(kRootNode).value();
    const auto all = u.read_directory(handle).value();
    REQUIRE(all.size() == 102);
    for (std::size_t index = 0; index < all.size(); ++index) {
        const auto rest = u.read_directory(handle, all[index].next).value();
        REQUIRE(rest.size() == all.size() - index - 1);
        if (!rest.empty()) CHECK(rest.front().name == all[index + 1].name);
    }
    // A name at a time, stopped by the visitor.
    Names names;
    std::uint64_t offset = 0;
    for (bool more = true; more;) {
        more = false;
        REQUIRE(u.verbs().readdir(handle, offset, [&](const DirectoryEntry& entry) {
            if (more) return false;
            names.emplace_back(entry.name);
            offset = entry.next;
            more = true;
            return true;
        }));
    }
    CHECK(names.size() == all.size());
    u.verbs().releasedir(handle);
}

TEST_CASE("100,000 names on three branches are listed once each", "[readdir]") {
    DrivenUnion u({kRw, kRw, kRw});
    constexpr int kNames = 100000;
    for (const std::size_t branch : {0U, 1U, 2U}) fs::create_directory(u.host(branch, "d"));
    for (int number = 0; number < kNames; ++number) {
        const std::string name = "d/name-" + std::to_string(number);
        for (std::size_t branch = 0; branch < 3; ++branch) {
            // One in ten is on all of them.
            if (number % 10 != 0 && number % 3 != static_cast<int>(branch)) continue;
            const std::string path = u.host(branch, name);
            const UniqueFd made(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
            REQUIRE(made);
        }
    }
    const auto listed = u.list("d").value();
    CHECK(listed.size() == kNames);
    std::set<std::string_view> distinct;
    for (const Listed& one : listed) distinct.insert(one.name);
    CHECK(distinct.size() == kNames);
}

TEST_CASE("a directory that can't be read is an error, not an empty one", "[readdir]") {
    DrivenUnion u({kRw, kRw});
    host_write(u.host(1, "f"), "x");
    const HandleId handle = u.verbs().opendir(kRootNode).value();
    u.verbs().releasedir(handle);
    CHECK(code(u.verbs().opendir(4711)) == ESTALE);
    CHECK(code(u.verbs().opendir(u.look("f")->node)) == ENOTDIR);
}

TEST_CASE("trees of 2,000 levels are made, walked, moved and removed", "[deep]") {
    const std::size_t open_directories = GENERATE(1U, 16U, 4096U);
    DrivenUnion u({kRw, kRw}, policies(), open_directories);
    constexpr int kLevels = 2000;
    std::vector<NodeId> nodes{kRootNode};
    const Name name = *Name::from("d");
    for (int level = 0; level < kLevels; ++level) {
        const auto made = u.verbs().mkdir(u.request(), nodes.back(), name, 0755);
        REQUIRE(code(made) == 0);
        u.remember(made->node);
        nodes.push_back(made->node);
    }
    CHECK(u.counts().cached_directories <= open_directories);
    const Name file = *Name::from("f");
    NodeId at_bottom = 0;
    {
        const auto made = u.verbs().create(u.request(), nodes.back(), file, 0644, O_RDWR);
        REQUIRE(code(made) == 0);
        at_bottom = made->entry.node;
        u.remember(at_bottom);
        u.verbs().release(made->opened.handle);
        const auto opened = u.verbs().open(u.request(), at_bottom, O_RDONLY, false);
        REQUIRE(code(opened) == 0);
        u.verbs().release(opened->handle);
    }
    CHECK(code(u.verbs().getattr(at_bottom)) == 0);

    SECTION("looked up anew") {
        std::string path = "d";
        for (int level = 1; level < kLevels; ++level) path += "/d";
        u.forget_all();
        CHECK(u.counts().nodes == 1);
        CHECK(code(u.look(path + "/f")) == 0);
    }
    SECTION("moved at its top") {
        REQUIRE(u.rename("d", "e") == 0);
        CHECK(code(u.verbs().getattr(at_bottom)) == 0);
    }
    SECTION("copied to the other branch by a link") {
        host_write(u.host(1, "g"), "x");
        const auto linked =
            u.verbs().link(u.request(), u.look("g")->node, nodes.back(), *Name::from("h"));
        REQUIRE(code(linked) == 0);
        u.remember(linked->node);
    }
    SECTION("removed from its bottom") {
        REQUIRE(code(u.verbs().unlink(u.request(), nodes.back(), file)) == 0);
        for (std::size_t level = nodes.size() - 1; level-- > 0;) {
            REQUIRE(code(u.verbs().rmdir(u.request(), nodes[level], name)) == 0);
        }
        CHECK(u.names("").empty());
    }
}

TEST_CASE("names and paths as long as they may be", "[deep]") {
    DrivenUnion u({kRw, kRw}, policies(), 1);
    const std::string longest(NAME_MAX, 'n');
    std::string path = longest;
    REQUIRE(u.mkdir(path) == 0);
    // Beyond PATH_MAX: the kernel looks names up one by one.
    for (int level = 0; level < 40; ++level) {
        path += '/' + longest;
        REQUIRE(u.mkdir(path) == 0);
    }
    CHECK(u.write(path + "/f", "text") == 0);
    CHECK(u.read(path + "/f").value() == "text");
    CHECK(u.mkdir(std::string(NAME_MAX + 1, 'n')) == ENAMETOOLONG);
    CHECK(u.rename(path + "/f", longest + "/f") == 0);
}

}  // namespace plyfs::test
