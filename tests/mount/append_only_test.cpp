// SPDX-License-Identifier: GPL-2.0-or-later
//
// Append-only files (chattr +a): the FUSE inode has no such flag, so the kernel would let whoever
// may append do more. What is there stays there all the same.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

constexpr char kBefore[] = "before";

// A branch's file must lose its flag, or nobody can tidy up.
class Cleared {
public:
    explicit Cleared(std::string path) : path_(std::move(path)) {}
    Cleared(const Cleared&) = delete;
    Cleared& operator=(const Cleared&) = delete;
    ~Cleared() {
        if (exists(path_)) CHECK(protect(path_, 0) == kOk);
    }

private:
    std::string path_;
};

void expect_append_only(const std::string& path) {
    for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND | O_TRUNC}) {
        CHECK(try_open(path, flags) == EPERM);
    }
    const UniqueFd reader = open_file(path, O_RDONLY);
    CHECK(content(reader.get()) == kBefore);
    const UniqueFd file = open_file(path, O_RDWR | O_APPEND);
    REQUIRE(outcome(file.get()) == kOk);
    CHECK(write_all(file.get(), "1") == kOk);
    // As on the branch this must not help.
    if (::fcntl(file.get(), F_SETFL, 0) == 0) (void)::pwrite(file.get(), "2", 1, 0);
    void* const mapping = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    CHECK(mapping == MAP_FAILED);
    if (mapping != MAP_FAILED) ::munmap(mapping, 4096);
    (void)::ftruncate(file.get(), 0);
    CHECK(content(path).starts_with("before1"));
    CHECK(content(reader.get()).starts_with("before1"));
}

TEST_CASE("an append-only file is appended to and nothing else", "[append_only][passthrough]") {
    SECTION("of a writable branch") {
        const Union united{Ext4};
        const Cleared cleared(united.branches.path(0, "file"));
        put(united.path("file"), kBefore);
        REQUIRE(protect(united.path("file"), FS_APPEND_FL) == kOk);
        expect_append_only(united.path("file"));
        CHECK(content(united.branches.path(0, "file")).starts_with("before1"));
    }
    SECTION("that somebody has open in passthrough") {
        const Union united{Ext4};
        const Cleared cleared(united.branches.path(0, "file"));
        put(united.path("file"), kBefore);
        const UniqueFd reader = open_file(united.path("file"), O_RDONLY);
        REQUIRE(protect(united.path("file"), FS_APPEND_FL) == kOk);
        const std::string self = "/proc/self/fd/" + std::to_string(reader.get());
        CHECK(try_open(self, O_RDWR | O_APPEND) == ETXTBSY);
        expect_append_only(united.path("file"));
        CHECK(content(reader.get()).starts_with("before1"));
        CHECK(status(reader.get()).st_ino == status(united.path("file")).st_ino);
    }
    SECTION("of a read-only branch") {
        const Branches branches{Ext4, Ext4};
        const Cleared cleared(branches.path(1, "file"));
        put(branches.path(1, "file"), kBefore);
        REQUIRE(protect(branches.path(1, "file"), FS_APPEND_FL) == kOk);
        {
            const Mount mount(branches.spec({"RW", "RO"}));
            expect_append_only(mount.path("file"));
        }
        // By now a copy with a mark, which its file system knows nothing of.
        const Mount mount(branches.spec({"RW", "RO"}), "readers=snapshot");
        CHECK(try_open(mount.path("file"), O_WRONLY) == EPERM);
        CHECK(try_open(mount.path("file"), O_WRONLY | O_APPEND) == kOk);
        CHECK(content(branches.path(1, "file")) == kBefore);
    }
    SECTION("once the flag is taken away it is a file like any other") {
        const Branches branches{Ext4, Ext4};
        const Cleared cleared(branches.path(1, "file"));
        put(branches.path(1, "file"), kBefore);
        REQUIRE(protect(branches.path(1, "file"), FS_APPEND_FL) == kOk);
        const Mount mount(branches.spec({"RW", "RO"}));
        CHECK(try_open(mount.path("file"), O_WRONLY) == EPERM);
        REQUIRE(protect(mount.path("file"), 0) == kOk);
        put(mount.path("file"), "after");
        CHECK(content(mount.path("file")) == "after");
    }
}

}  // namespace
}  // namespace plyfs::test
