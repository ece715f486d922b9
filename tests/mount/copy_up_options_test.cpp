// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options that say how things are copied up and in which form marks are written.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using enum FileSystem;

TEST_CASE("copies go where their policy says", "[copy_up]") {
    const Branches branches{Ext4, Ext4, Ext4};
    make_directory(branches.path(1, "directory"));
    make_directory(branches.path(2, "directory"));
    put(branches.path(2, "directory/file"), "content");
    const bool own_policy = GENERATE(false, true);
    const Mount mount(branches.spec({"RW", "RW", "RO"}),
                      own_policy ? "category.create=ff,copy_up.policy=epff" : "category.create=ff");
    put(mount.path("directory/file"), "changed");
    put(mount.path("directory/new"), "new");
    // What only read-only branches have above it is on every branch to path-preserving policies;
    // this directory is on one writable branch.
    CHECK(exists(branches.path(1, "directory/file")) == own_policy);
    CHECK(exists(branches.path(0, "directory/file")) == !own_policy);
    CHECK(exists(branches.path(0, "directory/new")));
}

TEST_CASE("without an index a write goes to the name that was opened", "[copy_up][link]") {
    const Branches branches{Ext4, Ext4};
    put(branches.path(1, "a"), "content");
    REQUIRE(::link(branches.path(1, "a").c_str(), branches.path(1, "b").c_str()) == 0);
    const Mount mount(branches.spec({"RW", "RO"}), "copy_up.index=false,cache.exclusive");
    CHECK(content(mount.path("a")) == "content");
    const UniqueFd before = open_file(mount.path("a"), O_RDONLY);
    CHECK(content(mount.path("b")) == "content");
    put(mount.path("b"), "changed");
    CHECK(content(mount.path("b")) == "changed");
    CHECK(content(mount.path("a")) == "content");
    CHECK(content(before.get()) == "content");
    CHECK(status(mount.path("a")).st_ino != status(mount.path("b")).st_ino);
    CHECK(content(branches.path(0, "b")) == "changed");
    CHECK_FALSE(exists(branches.path(0, "a")));
}

TEST_CASE("marks are written in the form that was asked for", "[copy_up]") {
    const Branches branches{Ext4, Ext4};
    put(branches.path(1, "file"), "content");
    put(branches.path(1, "other"), "content");
    SECTION("devices and trusted attributes") {
        const Mount mount(branches.spec({"RW", "RO"}),
                          "copy_up.whiteouts=device,copy_up.xattrs=trusted");
        CHECK(outcome(::unlink(mount.path("file").c_str())) == kOk);
        put(mount.path("other"), "changed");
        CHECK(S_ISCHR(status(branches.path(0, "file")).st_mode));
        CHECK(xattr_names(branches.path(0, "other")).contains("trusted.overlay.origin"));
    }
    SECTION("files and user attributes") {
        const Mount mount(branches.spec({"RW", "RO"}), "copy_up.whiteouts=dot,copy_up.xattrs=user");
        CHECK(outcome(::unlink(mount.path("file").c_str())) == kOk);
        put(mount.path("other"), "changed");
        CHECK(exists(branches.path(0, ".wh.file")));
        CHECK(xattr_names(branches.path(0, "other")).contains("user.overlay.origin"));
    }
    SECTION("files with an attribute") {
        const Mount mount(branches.spec({"RW", "RO"}), "copy_up.whiteouts=xattr");
        CHECK(outcome(::unlink(mount.path("file").c_str())) == kOk);
        CHECK(xattr_names(branches.path(0, "file")).contains("trusted.overlay.whiteout"));
        CHECK_FALSE(exists(mount.path("file")));
    }
}

TEST_CASE("asking for a form of marks leaves nothing behind", "[copy_up]") {
    const Branches branches{Ext4, Ext4};
    {
        const Mount mount(branches.spec({"RW", "RO"}), "copy_up.whiteouts=device");
    }
    CHECK(names(branches[0]).empty());
}

TEST_CASE("marks that can't be had are refused before anything is mounted", "[copy_up]") {
    require_sandbox();
    const std::string branch = make_scratch_directory();
    const std::string mountpoint = make_scratch_directory();
    REQUIRE(::mount("none", branch.c_str(), "ramfs", 0, nullptr) == 0);  // without attributes
    const Ran ran = run({PLYFS_BINARY, branch, mountpoint, "-o", "copy_up.xattrs=user"});
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs: branch " + branch + ": user.overlay.*"));
    CHECK_FALSE(find_mount(mountpoint).mounted);
    CHECK(names(branch).empty());
    CHECK(::umount(branch.c_str()) == 0);
}

TEST_CASE("directories of read-only branches stay where redirects are off", "[copy_up]") {
    const Branches branches{Ext4, Ext4};
    make_directory(branches.path(1, "directory"));
    put(branches.path(1, "directory/file"), "content");
    const bool redirects = GENERATE(true, false);
    const Mount mount(branches.spec({"RW", "RO"}), redirects ? "" : "copy_up.redirect=off");
    CHECK(outcome(::rename(mount.path("directory").c_str(), mount.path("moved").c_str())) ==
          (redirects ? kOk : Outcome(EXDEV)));
}

}  // namespace
}  // namespace plyfs::test
