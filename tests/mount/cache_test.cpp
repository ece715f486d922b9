// SPDX-License-Identifier: GPL-2.0-or-later
//
// What others do to the branches shows in the union once the kernel's memory has run out.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <functional>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// Asks until it is so. False: not within ten seconds.
bool becomes(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition())
        if (std::chrono::steady_clock::now() > deadline) return false;
    return true;
}

TEST_CASE("changes on the branch show at once when nothing is remembered", "[cache]") {
    const Union united({Ext4, Ext4}, "cache.entry=0,cache.attr=0,cache.negative-entry=0");
    const std::string path = united.path("file");
    const std::string real = united.branches.path(1, "file");
    CHECK_FALSE(exists(path));
    put(real, "content");
    CHECK(content(path) == "content");
    put(real, "longer content");
    CHECK(status(path).st_size == 14);
    CHECK(content(path) == "longer content");
    REQUIRE(::chmod(real.c_str(), 0600) == 0);
    CHECK(mode_of(path) == 0600);
    put(united.branches.path(0, "file"), "in front");
    CHECK(content(path) == "in front");
    REQUIRE(::unlink(united.branches.path(0, "file").c_str()) == 0);
    CHECK(content(path) == "longer content");
    REQUIRE(::rename(real.c_str(), united.branches.path(1, "moved").c_str()) == 0);
    CHECK_FALSE(exists(path));
    CHECK(content(united.path("moved")) == "longer content");
    make_directory(real);
    CHECK(S_ISDIR(status(path).st_mode));
}

TEST_CASE("changes on the branch show after the time to remember", "[cache]") {
    const Union united({Ext4}, "cache.entry=200ms,cache.attr=200ms,cache.negative-entry=200ms");
    const std::string path = united.path("file");
    const std::string real = united.branches.path(0, "file");
    SECTION("a new name") {
        CHECK_FALSE(exists(path));
        put(real, "content");
        CHECK(becomes([&] { return exists(path); }));
    }
    SECTION("a name that is gone") {
        put(real, "content");
        CHECK(exists(path));
        REQUIRE(::unlink(real.c_str()) == 0);
        CHECK(becomes([&] { return !exists(path); }));
    }
    SECTION("attributes") {
        put(real, "content");
        CHECK(status(path).st_size == 7);
        REQUIRE(::chmod(real.c_str(), 0600) == 0);
        CHECK(becomes([&] { return mode_of(path) == 0600; }));
    }
    SECTION("data") {
        put(real, "content");
        CHECK(content(path) == "content");
        put(real, "CONTENT");
        CHECK(becomes([&] { return content(path) == "CONTENT"; }));
    }
    SECTION("a directory's names") {
        make_directory(real);
        CHECK(names(path).empty());
        put(real + "/new", "");
        CHECK(becomes([&] { return names(path).contains("new"); }));
    }
}

TEST_CASE("a name replaced on the branch is another file", "[cache]") {
    const Union united({Ext4}, "cache.entry=0,cache.attr=0");
    const std::string path = united.path("file");
    const std::string real = united.branches.path(0, "file");
    put(real, "old");
    const UniqueFd old = open_file(path, O_RDONLY);
    const ino_t inode = status(path).st_ino;
    put(real + "2", "new");
    REQUIRE(::rename((real + "2").c_str(), real.c_str()) == 0);
    CHECK(content(path) == "new");
    CHECK(status(path).st_ino != inode);
    CHECK(content(old.get()) == "old");
}

TEST_CASE("a directory replaced on the branch is another directory", "[cache]") {
    const Union united({Ext4}, "cache.entry=0,cache.attr=0");
    make_directory(united.path("directory"));
    put(united.path("directory/old"), "");
    CHECK(names(united.path("directory")) == std::set<std::string>{"old"});
    REQUIRE(::rename(united.branches.path(0, "directory").c_str(),
                     united.branches.path(0, "moved").c_str()) == 0);
    make_directory(united.branches.path(0, "directory"));
    put(united.branches.path(0, "directory/new"), "");
    CHECK(names(united.path("directory")) == std::set<std::string>{"new"});
    CHECK(content(united.path("directory/new")).empty());
    CHECK_FALSE(exists(united.path("directory/old")));
    CHECK(names(united.path("moved")) == std::set<std::string>{"old"});
    put(united.path("directory/made"), "");
    CHECK(exists(united.branches.path(0, "directory/made")));
}

TEST_CASE("what is remembered is not asked for", "[cache]") {
    const Union united({Ext4}, "cache.entry=60,cache.attr=60,cache.negative-entry=60",
                       Mount::Style::Logging);
    put(united.path("file"), "content");
    (void)status(united.path("file"));
    CHECK_FALSE(exists(united.path("missing")));
    const std::size_t before = united.mount.requests().count({"LOOKUP", "GETATTR", "STATX"});
    for (int i = 0; i < 100; ++i) {
        (void)status(united.path("file"));
        CHECK_FALSE(exists(united.path("missing")));
    }
    CHECK(united.mount.requests().count({"LOOKUP", "GETATTR", "STATX"}) == before);
}

TEST_CASE("a symlink to outside does not lead the daemon out of a branch", "[cache][security]") {
    const Union united({Ext4}, "cache.entry=0,cache.attr=0");
    const Branches outside{Ext4};
    put(outside.path(0, "secret"), "secret");
    make_directory(united.path("directory"));
    put(united.path("directory/secret"), "own");
    CHECK(content(united.path("directory/secret")) == "own");
    const UniqueFd directory = open_file(united.path("directory"), O_RDONLY | O_DIRECTORY);
    // Somebody replaces the directory that the daemon knows by a symlink.
    REQUIRE(::rename(united.branches.path(0, "directory").c_str(),
                     united.branches.path(0, "moved").c_str()) == 0);
    REQUIRE(::symlink(outside[0].c_str(), united.branches.path(0, "directory").c_str()) == 0);
    const UniqueFd file(::openat(directory.get(), "secret", O_RDWR | O_CLOEXEC));
    if (file) CHECK(content(file.get()) != "secret");
    (void)::unlinkat(directory.get(), "secret", 0);
    (void)::mkdirat(directory.get(), "made", 0755);
    CHECK(content(outside.path(0, "secret")) == "secret");
    CHECK(names(outside[0]) == std::set<std::string>{"secret"});
}

}  // namespace
}  // namespace plyfs::test
