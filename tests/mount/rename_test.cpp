// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

TEST_CASE("a file gets another name", "[rename]") {
    const Union united(any_layout());
    put(united.path("old"), "content");
    const ino_t inode = status(united.path("old")).st_ino;
    make_directory(united.path("directory"));
    const std::string to = united.path(GENERATE("new", "directory/new"));
    REQUIRE(rename_to(united.path("old"), to) == kOk);
    CHECK_FALSE(exists(united.path("old")));
    CHECK(content(to) == "content");
    CHECK(status(to).st_ino == inode);
    CHECK(united.branches.count("old") == 0);
}

TEST_CASE("a file replaces another", "[rename]") {
    const Union united(any_layout());
    put(united.path("from"), "new");
    put(united.path("to"), "old");
    const UniqueFd replaced = open_file(united.path("to"), O_RDONLY);
    REQUIRE(rename_to(united.path("from"), united.path("to")) == kOk);
    CHECK(content(united.path("to")) == "new");
    CHECK(content(replaced.get()) == "old");
    CHECK(status(replaced.get()).st_nlink == 0);
    CHECK(names(united.path()) == std::set<std::string>{"to"});
    CHECK(united.branches.count("to") == 1);
}

TEST_CASE("a directory gets another name with what is in it", "[rename]") {
    const Union united(any_layout());
    make_directory(united.path("old"));
    make_directory(united.path("old/inner"));
    make_directory(united.path("parent"));
    for (int i = 0; i < 20; ++i) put(united.path("old/inner/" + std::to_string(i)), "content");
    const ino_t inode = status(united.path("old")).st_ino;
    const UniqueFd open = open_file(united.path("old/inner/0"), O_RDWR);
    REQUIRE(rename_to(united.path("old"), united.path("parent/new")) == kOk);
    CHECK_FALSE(exists(united.path("old")));
    CHECK(united.branches.count("old") == 0);
    CHECK(names(united.path("parent/new/inner")).size() == 20);
    CHECK(status(united.path("parent/new")).st_ino == inode);
    CHECK(write_all(open.get(), "changed") == kOk);
    CHECK(content(united.path("parent/new/inner/0")) == "changed");
}

TEST_CASE("a directory on several branches is renamed on each", "[rename]") {
    const Union united{Ext4, Xfs, Tmpfs};
    for (std::size_t i = 0; i < 3; ++i) {
        std::filesystem::create_directories(united.branches.path(i, "old/inner"));
        put(united.branches.path(i, "old/inner/" + std::to_string(i)), std::to_string(i));
    }
    REQUIRE(rename_to(united.path("old"), united.path("new")) == kOk);
    CHECK(united.branches.count("old") == 0);
    CHECK(united.branches.count("new") == 3);
    CHECK(names(united.path("new/inner")) == std::set<std::string>{"0", "1", "2"});
    CHECK(content(united.path("new/inner/2")) == "2");
}

TEST_CASE("a file is renamed into a directory that its branch lacks", "[rename]") {
    const Union united{Ext4, Xfs, Btrfs, Tmpfs};
    const std::size_t from = GENERATE(0, 1, 2, 3);
    const std::size_t to = GENERATE(0, 1, 2, 3);
    CAPTURE(from, to);
    put(united.branches.path(from, "file"), "content");
    std::filesystem::create_directories(united.branches.path(to, "a/b"));
    REQUIRE(::chmod(united.branches.path(to, "a").c_str(), 0751) == 0);
    REQUIRE(::chown(united.branches.path(to, "a").c_str(), 20'001, 30'001) == 0);
    REQUIRE(rename_to(united.path("file"), united.path("a/b/file")) == kOk);
    CHECK(content(united.branches.path(from, "a/b/file")) == "content");
    CHECK(united.branches.count("file") == 0);
    const struct stat made = status(united.branches.path(from, "a"));
    CHECK((made.st_mode & 07777) == 0751);
    CHECK(made.st_uid == 20'001);
    CHECK(made.st_gid == 30'001);
    // And back, and as a second link.
    REQUIRE(outcome(::link(united.path("a/b/file").c_str(), united.path("link").c_str())) == kOk);
    REQUIRE(rename_to(united.path("a/b/file"), united.path("file")) == kOk);
    CHECK(status(united.path("file")).st_nlink == 2);
    CHECK(status(united.path("file")).st_ino == status(united.path("link")).st_ino);
}

TEST_CASE("a file replaces one on another branch", "[rename]") {
    const Union united{Ext4, Xfs};
    const std::size_t branch = GENERATE(0, 1);
    put(united.branches.path(branch, "from"), "new");
    put(united.branches.path(1 - branch, "to"), "old");
    put(united.branches.path(branch, "also"), "old");
    put(united.branches.path(1 - branch, "also"), "hidden");
    REQUIRE(rename_to(united.path("from"), united.path("to")) == kOk);
    CHECK(content(united.path("to")) == "new");
    CHECK(united.branches.count("to") == 1);
    REQUIRE(rename_to(united.path("to"), united.path("also")) == kOk);
    CHECK(content(united.path("also")) == "new");
    CHECK(united.branches.count("also") == 1);
}

TEST_CASE("NOREPLACE and EXCHANGE", "[rename]") {
    const Union united(any_layout());
    put(united.path("a"), "a");
    put(united.path("b"), "b");
    make_directory(united.path("directory"));
    put(united.path("directory/inside"), "inside");
    CHECK(rename_to(united.path("a"), united.path("b"), RENAME_NOREPLACE) == EEXIST);
    CHECK(content(united.path("b")) == "b");
    CHECK(rename_to(united.path("a"), united.path("c"), RENAME_NOREPLACE) == kOk);
    CHECK(content(united.path("c")) == "a");
    CHECK(rename_to(united.path("c"), united.path("missing"), RENAME_EXCHANGE) == ENOENT);
    CHECK(rename_to(united.path("b"), united.path("c"), RENAME_NOREPLACE | RENAME_EXCHANGE) ==
          EINVAL);

    SECTION("two files") {
        REQUIRE(rename_to(united.path("b"), united.path("c"), RENAME_EXCHANGE) == kOk);
        CHECK(content(united.path("b")) == "a");
        CHECK(content(united.path("c")) == "b");
    }
    SECTION("a file and a directory") {
        REQUIRE(rename_to(united.path("b"), united.path("directory"), RENAME_EXCHANGE) == kOk);
        CHECK(content(united.path("directory")) == "b");
        CHECK(content(united.path("b/inside")) == "inside");
    }
}

TEST_CASE("renames answer as on ext4", "[rename]") {
    const Union united(any_layout());
    const Branches plain{Ext4};
    for (const std::string& root : {united.path(), plain[0]}) {
        put(root + "/file", "");
        put(root + "/other", "");
        REQUIRE(::link((root + "/file").c_str(), (root + "/same").c_str()) == 0);
        make_directory(root + "/empty");
        make_directory(root + "/full");
        put(root + "/full/file", "");
        make_directory(root + "/full/inner");
    }
    struct Move {
        const char* from;
        const char* to;
        unsigned flags = 0;
    };
    const Move moves[] = {
        {"/missing", "/new"},
        {"/file", "/missing/new"},
        {"/file", "/file/new"},
        {"/file", "/empty"},
        {"/empty", "/file"},
        {"/empty", "/full"},
        {"/full", "/full/inner/below"},
        {"/full", "/full/inner"},
        {"/full/inner", "/full"},
        {"/file", "/same"},
        {"/file", "/file"},
        {"/full", "/full"},
        {"/file", "/."},
        {"/full/..", "/x"},
        {"/full", "/full/inner", RENAME_EXCHANGE},
        {"/file", "/same", RENAME_EXCHANGE},
        {"/file", "/same", RENAME_NOREPLACE},
        {"/full", "/empty", RENAME_EXCHANGE},
        {"/file", "/new", 0x80},
        {"/empty", "/full"},
        {"/full", "/empty"},
    };
    for (const Move& each : moves) {
        INFO(each.from << " " << each.to << " " << each.flags);
        CHECK(rename_to(united.path() + each.from, united.path() + each.to, each.flags) ==
              rename_to(plain[0] + each.from, plain[0] + each.to, each.flags));
        CHECK(names(united.path()) == names(plain[0]));
    }
}

TEST_CASE("a name always exists while files are renamed onto it", "[rename]") {
    const Union united(any_layout());
    put(united.path("name"), "0");
    std::atomic<bool> done{false};
    std::atomic<int> missing{0};
    std::atomic<int> looked{0};
    std::thread reader([&] {
        while (!done) {
            const UniqueFd file = open_file(united.path("name"), O_RDONLY);
            char byte = 0;
            if (!file || ::read(file.get(), &byte, 1) != 1) ++missing;
            ++looked;
        }
    });
    Outcome failed;
    for (int i = 0; i < 100 && failed.ok(); ++i) {
        const std::string from = united.path("new" + std::to_string(i));
        const UniqueFd file = open_file(from, O_WRONLY | O_CREAT);
        failed = write_all(file.get(), "1");
        if (failed.ok()) failed = rename_to(from, united.path("name"));
    }
    done = true;
    reader.join();
    CHECK(failed == kOk);
    CHECK(missing == 0);
    CHECK(looked > 0);
    CHECK(names(united.path()) == std::set<std::string>{"name"});
}

TEST_CASE("directories renamed into each other never become a loop", "[rename]") {
    const Union united(any_layout());
    make_directory(united.path("a"));
    make_directory(united.path("b"));
    make_directory(united.path("a/x"));
    make_directory(united.path("b/y"));
    std::thread one([&] {
        for (int i = 0; i < 50; ++i) {
            (void)rename_to(united.path("a"), united.path("b/y/a"));
            (void)rename_to(united.path("b/y/a"), united.path("a"));
        }
    });
    for (int i = 0; i < 50; ++i) {
        (void)rename_to(united.path("b"), united.path("a/x/b"));
        (void)rename_to(united.path("a/x/b"), united.path("b"));
    }
    one.join();
    std::size_t directories = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(united.path()))
        directories += entry.is_directory() ? 1 : 0;
    CHECK(directories == 4);
}

}  // namespace
}  // namespace plyfs::test
