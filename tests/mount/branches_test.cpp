// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where things are put, and what several branches are together.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <csignal>
#include <filesystem>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

TEST_CASE("the create policy picks the branch", "[branches][policy]") {
    const Branches branches{Ext4, Tmpfs};
    SECTION("ff") {
        const Mount mount(branches.spec(), "category.create=ff");
        for (int i = 0; i < 5; ++i) put(mount.path(std::to_string(i)), "");
        CHECK(names(branches[0]).size() == 5);
    }
    SECTION("all") {
        const Mount mount(branches.spec(), "func.mkdir=all");
        make_directory(mount.path("directory"));
        CHECK(branches.count("directory") == 2);
    }
    SECTION("epff") {
        make_directory(branches.path(1, "directory"));
        const Mount mount(branches.spec(), "category.create=epff");
        put(mount.path("directory/file"), "");
        CHECK(exists(branches.path(1, "directory/file")));
        CHECK_FALSE(exists(branches.path(0, "directory")));
    }
    SECTION("minimum free space") {
        const Mount mount(branches[0] + "=RW,100T:" + branches[1], "category.create=ff");
        put(mount.path("file"), "");
        CHECK(exists(branches.path(1, "file")));
    }
    SECTION("no branch with that much free space") {
        const Mount mount(branches.spec(), "minfreespace=100T");
        CHECK(try_open(mount.path("file"), O_CREAT | O_WRONLY) == ENOSPC);
        CHECK(names(mount.path()).empty());
    }
}

TEST_CASE("directories that a branch lacks are made like the one seen", "[branches]") {
    const Union united({Ext4, Xfs, Btrfs}, "category.create=ff");
    std::filesystem::create_directories(united.branches.path(2, "a/b/c"));
    const std::string a = united.branches.path(2, "a");
    REQUIRE(::chown(a.c_str(), 20'001, 30'001) == 0);
    REQUIRE(::chmod(a.c_str(), 03751) == 0);
    REQUIRE(set_xattr(a, "user.name", "value") == kOk);
    const timespec times[] = {{1'000'000'000, 5}, {1'100'000'000, 6}};
    REQUIRE(::utimensat(AT_FDCWD, a.c_str(), times, 0) == 0);
    const ino_t inode = status(united.path("a")).st_ino;

    put(united.path("a/b/c/file"), "content");
    const std::string made = united.branches.path(0, "a");
    CHECK(exists(made + "/b/c/file"));
    CHECK(status(made).st_uid == 20'001);
    CHECK(status(made).st_gid == 30'001);
    CHECK(mode_of(made) == 03751);
    CHECK(get_xattr(made, "user.name") == "value");
    CHECK(nanoseconds(status(made).st_mtim) == nanoseconds(times[1]));
    CHECK_FALSE(exists(united.branches.path(1, "a")));
    CHECK(status(united.path("a")).st_ino == inode);
}

TEST_CASE("changes go to all copies of a directory", "[branches]") {
    const Union united{Ext4, Xfs};
    make_directory(united.branches.path(0, "directory"));
    make_directory(united.branches.path(1, "directory"));
    REQUIRE(::chmod(united.path("directory").c_str(), 0700) == 0);
    REQUIRE(::chown(united.path("directory").c_str(), 20'001, 30'001) == 0);
    REQUIRE(set_xattr(united.path("directory"), "user.name", "value") == kOk);
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(mode_of(united.branches.path(i, "directory")) == 0700);
        CHECK(status(united.branches.path(i, "directory")).st_uid == 20'001);
        CHECK(get_xattr(united.branches.path(i, "directory"), "user.name") == "value");
    }
    REQUIRE(outcome(::rmdir(united.path("directory").c_str())) == kOk);
    CHECK(united.branches.count("directory") == 0);
}

TEST_CASE("a directory is not removed while any branch has something in it", "[branches]") {
    const Union united{Ext4, Xfs};
    make_directory(united.branches.path(0, "directory"));
    make_directory(united.branches.path(1, "directory"));
    put(united.branches.path(1, "directory/file"), "");
    CHECK(outcome(::rmdir(united.path("directory").c_str())) == ENOTEMPTY);
    CHECK(united.branches.count("directory") == 2);
}

TEST_CASE("removing a file removes all copies", "[branches]") {
    const Union united{Ext4, Xfs, Tmpfs};
    for (std::size_t i = 0; i < 3; ++i) put(united.branches.path(i, "file"), std::to_string(i));
    REQUIRE(outcome(::unlink(united.path("file").c_str())) == kOk);
    CHECK(united.branches.count("file") == 0);
    CHECK_FALSE(exists(united.path("file")));
}

TEST_CASE("hard links are made on the branch of the file", "[branches][link]") {
    const Union united{Ext4, Xfs, Btrfs, Tmpfs};
    const std::size_t from = GENERATE(0, 1, 2, 3);
    put(united.branches.path(from, "file"), "content");
    std::filesystem::create_directories(united.branches.path((from + 1) % 4, "a/b"));
    REQUIRE(outcome(::link(united.path("file").c_str(), united.path("a/b/link").c_str())) == kOk);
    CHECK(exists(united.branches.path(from, "a/b/link")));
    CHECK(status(united.path("file")).st_nlink == 2);
    CHECK(status(united.path("a/b/link")).st_ino == status(united.path("file")).st_ino);
}

TEST_CASE("files of different file systems have different numbers", "[branches][inodes]") {
    const Union united{Ext4, Xfs, Btrfs, Tmpfs};
    std::set<ino_t> numbers;
    for (std::size_t i = 0; i < 4; ++i) {
        const std::string name = "file" + std::to_string(i);
        put(united.branches.path(i, name), "");
        numbers.insert(status(united.path(name)).st_ino);
    }
    CHECK(numbers.size() == 4);
}

TEST_CASE("one branch that fails does not take the others along", "[branches]") {
    require_sandbox();
    const Branches good{Ext4};
    put(good.path(0, "good"), "content");
    const LoopFileSystem bad(Ext4, 16 << 20);
    put(bad.path() + "/bad", "content");
    const Mount mount(good.spec() + ":" + bad.path(), "category.create=ff,cache.entry=0");
    CHECK(names(mount.path()).contains("bad"));
    REQUIRE(outcome(::mount(nullptr, bad.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY,
                            nullptr)) == kOk);
    CHECK(content(mount.path("bad")) == "content");
    CHECK(outcome(::unlink(mount.path("bad").c_str())) == EROFS);
    CHECK(try_open(mount.path("bad"), O_WRONLY) == EROFS);
    CHECK(content(mount.path("good")) == "content");
    put(mount.path("new"), "content");
    CHECK(exists(good.path(0, "new")));
    CHECK(outcome(::unlink(mount.path("good").c_str())) == kOk);
}

TEST_CASE("a branch that was remounted read-only is passed over", "[branches]") {
    require_sandbox();
    const LoopFileSystem first(Ext4, 16 << 20);
    const Branches second{Ext4};
    const Mount mount(first.path() + ":" + second[0], "category.create=ff");
    REQUIRE(outcome(::mount(nullptr, first.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY,
                            nullptr)) == kOk);
    put(mount.path("file"), "content");
    CHECK(exists(second.path(0, "file")));
}

TEST_CASE("a mount is usable after the daemon was killed and another mounted", "[branches]") {
    const Branches branches{Ext4, Xfs};
    for (int round = 0; round < 3; ++round) {
        Mount mount(branches.spec(), "category.create=rand");
        for (std::size_t i = 0; i < 2; ++i) {
            std::filesystem::create_directories(branches.path(i, "directory"));
            put(branches.path(i, "directory/file"), "copy");
        }
        const pid_t daemon = mount.daemon();
        Process busy([&] {
            for (int i = 0;; ++i) {
                const std::string to = mount.path("to" + std::to_string(i));
                if (::rename(mount.path("directory").c_str(), to.c_str()) != 0) return 0;
                if (::rename(to.c_str(), mount.path("directory").c_str()) != 0) return 0;
            }
        });
        for (int i = 0; i < 10 * round; ++i) (void)exists(mount.path("missing"));
        ::kill(daemon, SIGKILL);
        CHECK(reap(daemon) == 128 + SIGKILL);
        CHECK(busy.wait() == 0);
        REQUIRE(::umount2(mount.path().c_str(), MNT_DETACH) == 0);
        mount.abandon();
        const Mount again(branches.spec());
        // Under the old name or the new one, on both branches the same.
        const std::set<std::string> found = names(again.path());
        CHECK(found.size() == 1);
        for (const std::string& name : found) {
            CHECK(branches.count(name) == 2);
            CHECK(content(again.path(name + "/file")) == "copy");
            CHECK(outcome(::unlink(again.path(name + "/file").c_str())) == kOk);
            CHECK(outcome(::rmdir(again.path(name).c_str())) == kOk);
        }
    }
}

}  // namespace
}  // namespace plyfs::test
