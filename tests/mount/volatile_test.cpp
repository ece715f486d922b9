// SPDX-License-Identifier: GPL-2.0-or-later
//
// Branches that can be thrown away: nothing waits for the disk, and a mark says so.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "mount/files.h"
#include "mount/layers.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using Names = std::set<std::string>;
using enum FileSystem;

constexpr char kMark[] = "work/incompat/volatile";
constexpr char kFeatures[] = "work/incompat";

// mount -t overlay. ENODEV: there is none.
Outcome mount_kernel_overlay(const Layers& layers, const std::string& mountpoint,
                             const std::string& more = "") {
    return outcome(
        ::mount("overlay", mountpoint.c_str(), "overlay", 0, (layers.options() + more).c_str()));
}

// Why plyfs does not mount it.
std::string refusal(const Layers& layers, const std::string& more = "") {
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = layers.mount(layers.options() + more, mountpoint);
    CHECK(ran.status == 1);
    CHECK_FALSE(find_mount(mountpoint).mounted);
    return ran.output;
}

TEST_CASE("a volatile mount answers fsync at once and is clean when it is unmounted",
          "[volatile]") {
    const Layers layers;
    {
        const Mount mount("overlay", layers.options() + ",volatile", Mount::Style::Logging);
        CHECK(exists(layers.path(std::string("work/") + kMark + "/dirty")));
        const UniqueFd file = open_file(mount.path("file"), O_WRONLY | O_TRUNC);
        CHECK(write_all(file.get(), "changed") == kOk);
        for (int i = 0; i < 3; ++i) {
            CHECK(outcome(::fsync(file.get())) == kOk);
            CHECK(outcome(::fdatasync(file.get())) == kOk);
        }
        const UniqueFd directory = open_file(mount.path(), O_RDONLY | O_DIRECTORY);
        CHECK(outcome(::fsync(directory.get())) == kOk);
        CHECK(mount.requests().count({"FSYNC", "FSYNCDIR"}) <= 2);  // one each, to find out
    }
    CHECK_FALSE(exists(layers.path("work") + "/" + kFeatures));
    CHECK_FALSE(exists(layers.path("work/plyfs")));
    CHECK(content(layers.path("upper/file")) == "changed");
    const Mount again("overlay", layers.options());
    CHECK(content(again.path("file")) == "changed");
}

TEST_CASE("nobody mounts what a volatile mount left in a crash", "[volatile][crash]") {
    const Layers layers;
    {
        Mount mount("overlay", layers.options() + ",volatile");
        put(mount.path("file"), "changed");
        kill_daemon(mount);
    }
    const std::string mark = layers.path(std::string("work/") + kMark);
    const auto* const more = GENERATE("", ",volatile");
    CHECK_THAT(refusal(layers, more), ContainsSubstring("plyfs: branch " + layers.path("upper")) &&
                                          ContainsSubstring("`volatile`") &&
                                          ContainsSubstring("remove " + mark));
    const std::string mountpoint = make_scratch_directory();
    const Outcome kernel = mount_kernel_overlay(layers, mountpoint);
    if (kernel != ENODEV) CHECK(kernel == EINVAL);

    // The user's word that it is all right.
    CHECK(outcome(::unlink((mark + "/dirty").c_str())) == kOk);
    CHECK(outcome(::rmdir(mark.c_str())) == kOk);
    const Mount again("overlay", layers.options());
    CHECK(content(again.path("file")) == "changed");
}

TEST_CASE("the mark of the kernel's overlayfs is believed", "[volatile]") {
    const Layers layers;
    const std::string mountpoint = make_scratch_directory();
    const Outcome mounted = mount_kernel_overlay(layers, mountpoint, ",volatile");
    if (mounted == ENODEV) SKIP("no overlayfs");
    REQUIRE(mounted == kOk);
    put(mountpoint + "/file", "kernel");
    REQUIRE(outcome(::umount(mountpoint.c_str())) == kOk);
    CHECK_THAT(refusal(layers), ContainsSubstring(kMark));
}

TEST_CASE("a feature that is not known keeps the layers from being mounted", "[volatile]") {
    const Layers layers;
    make_directory(layers.path("work/work"));
    make_directory(layers.path("work") + "/" + kFeatures);
    make_directory(layers.path("work") + "/" + kFeatures + "/future");
    CHECK_THAT(refusal(layers), ContainsSubstring("work/incompat/future asks for something"));
}

TEST_CASE("branches of a pool keep the mark in their own work directories", "[volatile][crash]") {
    const Branches branches{Ext4, Ext4};
    {
        const Mount mount(branches.spec(), "volatile");
        for (const std::size_t branch : {0U, 1U})
            CHECK(exists(branches.path(branch, std::string(".plyfs/") + kMark)));
        CHECK(names(mount.path()).empty());
    }
    for (const std::size_t branch : {0U, 1U}) CHECK(names(branches[branch]).empty());
    {
        Mount mount(branches.spec(), "volatile");
        kill_daemon(mount);
    }
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = run({PLYFS_BINARY, branches.spec(), mountpoint});
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring(branches.path(0, ".plyfs") + "/" + kMark));
    const Mount read_only(branches.spec(), "ro");
    CHECK(names(read_only.path()).empty());
}

TEST_CASE("a volatile mount that fails leaves no mark", "[volatile]") {
    const Layers layers;
    make_directory(layers.path("work/work"));
    put(layers.path("work") + "/" + kFeatures, "in the way");
    const std::string message = refusal(layers, ",volatile");
    CHECK_THAT(message, ContainsSubstring("can't be marked as volatile"));
    CHECK(names(layers.path("work")) == Names{"work"});
}

TEST_CASE("copies without fsync leave no mark, and fsync works", "[volatile][copy_up]") {
    const Layers layers;
    const Mount mount("overlay", layers.options() + ",copy_up.fsync=off", Mount::Style::Logging);
    CHECK_FALSE(exists(layers.path("work/work")));
    const UniqueFd file = open_file(mount.path("file"), O_WRONLY);
    CHECK(outcome(::fsync(file.get())) == kOk);
    CHECK(outcome(::fsync(file.get())) == kOk);
    CHECK(mount.requests().count({"FSYNC"}) == 2);
}

}  // namespace
}  // namespace plyfs::test
