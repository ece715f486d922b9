// SPDX-License-Identifier: GPL-2.0-or-later
//
// Branches that are not written to, and branches that get nothing new.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

TEST_CASE("a read-only branch is never changed", "[read-only]") {
    const Branches branches{Ext4, Ext4};
    const std::string real = branches.path(1, "file");
    put(real, "content");
    make_directory(branches.path(1, "directory"));
    put(branches.path(1, "directory/inside"), "inside");
    REQUIRE(::chmod(real.c_str(), 0666) == 0);
    const timespec long_ago[] = {{1'000'000'000, 0}, {1'000'000'001, 0}};
    REQUIRE(::utimensat(AT_FDCWD, real.c_str(), long_ago, 0) == 0);
    const struct stat before = status(real);
    const Mount mount(branches.spec({"RW", "RO"}), GENERATE("", "passthrough.io=off"));
    const std::string path = mount.path("file");

    CHECK(content(path) == "content");
    {
        const UniqueFd file = open_file(path, O_RDONLY);
        void* const bytes = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0);
        REQUIRE(bytes != MAP_FAILED);
        CHECK(*static_cast<const char*>(bytes) == 'c');
        CHECK(outcome(::mprotect(bytes, 4096, PROT_READ | PROT_WRITE)) == EACCES);
        ::munmap(bytes, 4096);
    }
    put(path, "new");
    CHECK(content(path) == "new");
    CHECK(outcome(::truncate(path.c_str(), 0)) == kOk);
    CHECK(outcome(::chmod(path.c_str(), 0600)) == kOk);
    CHECK(outcome(::chown(path.c_str(), 1, 1)) == kOk);
    CHECK(outcome(::utimensat(AT_FDCWD, path.c_str(), nullptr, 0)) == kOk);
    CHECK(set_xattr(path, "user.name", "value") == kOk);
    CHECK(outcome(::link(path.c_str(), mount.path("linked").c_str())) == kOk);
    CHECK(outcome(::rename(path.c_str(), mount.path("new").c_str())) == kOk);
    CHECK_FALSE(exists(path));
    put(path, "again");
    CHECK(outcome(::unlink(path.c_str())) == kOk);
    CHECK(outcome(::rmdir(mount.path("directory").c_str())) == ENOTEMPTY);
    CHECK(outcome(::rename(mount.path("directory").c_str(), mount.path("moved").c_str())) == kOk);
    CHECK(content(mount.path("moved/inside")) == "inside");
    CHECK(outcome(::unlink(mount.path("moved/inside").c_str())) == kOk);
    CHECK(outcome(::rmdir(mount.path("moved").c_str())) == kOk);
    CHECK(names(mount.path()) == std::set<std::string>{"linked", "new"});

    const struct stat after = status(real);
    CHECK(nanoseconds(after.st_atim) == nanoseconds(before.st_atim));
    CHECK(nanoseconds(after.st_mtim) == nanoseconds(before.st_mtim));
    CHECK(nanoseconds(after.st_ctim) == nanoseconds(before.st_ctim));
    CHECK(names(branches[1]) == std::set<std::string>{"file", "directory"});
}

TEST_CASE("mounting leaves the access time of a read-only branch", "[read-only]") {
    const Branches branches{Ext4, Ext4};
    put(branches.path(1, "file"), "content");
    const timespec long_ago[] = {{1'000'000'000, 0}, {1'000'000'001, 0}};
    REQUIRE(::utimensat(AT_FDCWD, branches[1].c_str(), long_ago, 0) == 0);
    const Mount mount(branches.spec({"RW", "RO"}));
    CHECK(names(mount.path()) == std::set<std::string>{"file"});
    CHECK(status(branches[1]).st_atim.tv_sec == 1'000'000'000);
}

TEST_CASE("new things beside those of a read-only branch go to a writable one", "[read-only]") {
    const Branches branches{Ext4, Ext4};
    make_directory(branches.path(0, "directory"), 0750);
    put(branches.path(0, "directory/old"), "old");
    const Mount mount(branches.spec({"RO", "RW"}));
    put(mount.path("directory/new"), "new");
    CHECK(names(mount.path("directory")) == std::set<std::string>{"old", "new"});
    CHECK(content(branches.path(1, "directory/new")) == "new");
    CHECK(mode_of(branches.path(1, "directory")) == 0750);
    CHECK(names(branches.path(0, "directory")) == std::set<std::string>{"old"});
}

TEST_CASE("a writable branch comes before a read-only one", "[read-only]") {
    const Branches branches{Ext4, Ext4};
    put(branches.path(0, "file"), "read-only");
    put(branches.path(1, "file"), "writable");
    const Mount mount(branches.spec({"RO", "RW"}));
    CHECK(content(mount.path("file")) == "writable");
}

TEST_CASE("a branch that gets nothing new", "[read-only][nc]") {
    const Branches branches{Ext4, Ext4};
    put(branches.path(0, "file"), "content");
    const Mount mount(branches.spec({"NC", "RW"}), "category.create=ff");
    put(mount.path("new"), "");
    CHECK(exists(branches.path(1, "new")));
    put(mount.path("file"), "changed");
    CHECK(content(branches.path(0, "file")) == "changed");
    REQUIRE(outcome(::chmod(mount.path("file").c_str(), 0600)) == kOk);
    CHECK(mode_of(branches.path(0, "file")) == 0600);
    REQUIRE(outcome(::unlink(mount.path("file").c_str())) == kOk);
    CHECK_FALSE(exists(branches.path(0, "file")));
}

TEST_CASE("several readers of a file on a read-only branch", "[read-only][passthrough]") {
    const Branches branches{Ext4, Ext4};
    const std::string bytes(std::size_t{4} << 20, 'x');
    put(branches.path(1, "file"), bytes);
    const Mount mount(branches.spec({"RW", "RO"}));
    const UniqueFd one = open_file(mount.path("file"), O_RDONLY);
    const UniqueFd two = open_file(mount.path("file"), O_RDONLY);
    REQUIRE(outcome(two.get()) == kOk);
    CHECK((content(one.get()) == bytes));
    CHECK((content(two.get()) == bytes));
}

}  // namespace
}  // namespace plyfs::test
