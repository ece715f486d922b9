// SPDX-License-Identifier: GPL-2.0-or-later
//
// mount(8) with a file system table. The sandbox installs mount.plyfs.
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using enum FileSystem;

// A table with one line, and `mount -T TABLE words...`.
struct Table {
    Table(const std::string& source, const std::string& type, const std::string& options)
        : mountpoint(make_scratch_directory()), file(make_scratch_directory() + "/fstab") {
        put(file,
            "# comment\n" + source + "  " + mountpoint + "  " + type + "  " + options + "  0  0\n");
    }
    Ran mount(std::vector<std::string> words) const {
        words.insert(words.begin(), {"mount", "-T", file});
        return run(words);
    }

    std::string mountpoint;
    std::string file;
};

TEST_CASE("fstab lines are mounted", "[fstab]") {
    const Branches branches{Ext4, Tmpfs};
    put(branches.path(1, "file"), "content");
    const auto* const type = GENERATE("fuse.plyfs", "plyfs");
    CAPTURE(type);
    const Table table(branches.spec(), type, "minfreespace=0,noatime,category.create=ff");
    const Ran ran = table.mount({table.mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    CHECK(content(mount.path("file")) == "content");
    CHECK(find_mount(mount.path()).type == "fuse.plyfs");
    CHECK(find_mount(mount.path()).has("noatime"));
    put(mount.path("new"), "");
    CHECK(exists(branches.path(0, "new")));
}

TEST_CASE("mount -a takes all options that fstab lines carry", "[fstab]") {
    const Branches branches{Ext4};
    const Table table(branches.spec(), "fuse.plyfs",
                      "defaults,nofail,_netdev,x-systemd.requires=/,x-systemd.automount,"
                      "x-systemd.device-timeout=5s,comment=pool,nosuid,nodev,allow_other,"
                      "default_permissions,minfreespace=0,fsname=pool");
    const Ran ran = table.mount({"-a"});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    const MountTableEntry entry = find_mount(mount.path());
    CHECK(entry.source == "pool");
    CHECK(entry.has("nosuid"));
    CHECK(entry.has("nodev"));
    CHECK_FALSE(entry.has("noexec"));
}

TEST_CASE("mount -a does nothing the second time", "[fstab]") {
    const Branches branches{Ext4, Ext4};
    const std::string file = make_scratch_directory() + "/pool.yaml";
    put(file, "branches:\n  - path: " + branches[0] + "\n");
    const std::string sources[] = {branches.spec(), branches[0] + ":" + branches[1],
                                   branches.spec({"RW", "NC,1G"}), file};
    const std::string& source = sources[GENERATE(range(0, 4))];
    CAPTURE(source);
    const Table table(source, "fuse.plyfs", "defaults");
    const Ran first = table.mount({"-a"});
    INFO(first.output);
    REQUIRE(first.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    const Ran again = table.mount({"-a"});
    CHECK(again.output.empty());
    CHECK(again.status == 0);
    CHECK(children().size() == 1);
}

TEST_CASE("a program that is not installed is mounted by its path", "[fstab]") {
    const Branches branches{Ext4};
    const Table table(std::string(PLYFS_BINARY) + "#" + branches[0], "fuse3", "minfreespace=0");
    const Ran ran = table.mount({table.mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    put(mount.path("file"), "content");
    CHECK(content(branches.path(0, "file")) == "content");
}

TEST_CASE("mount -a leaves noauto alone", "[fstab]") {
    const Branches branches{Ext4};
    const Table table(branches.spec(), "fuse.plyfs", "noauto,user,minfreespace=0");
    REQUIRE(table.mount({"-a"}).status == 0);
    CHECK_FALSE(find_mount(table.mountpoint).mounted);
    const Ran ran = table.mount({table.mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    const MountTableEntry entry = find_mount(mount.path());
    CHECK(entry.has("nosuid"));
    CHECK(entry.has("nodev"));
    CHECK(entry.has("noexec"));
}

TEST_CASE("a read-only fstab line", "[fstab]") {
    const Branches branches{Ext4};
    put(branches.path(0, "file"), "content");
    const Table table(branches.spec({"RO"}), "fuse.plyfs", "ro");
    const Ran ran = table.mount({table.mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    CHECK(find_mount(mount.path()).has("ro"));
    CHECK(try_open(mount.path("file"), O_WRONLY) == EROFS);
}

TEST_CASE("a YAML file as the source of a fstab line", "[fstab]") {
    const Branches branches{Ext4};
    const std::string file = make_scratch_directory() + "/pool.yaml";
    put(file, "branches:\n  - path: " + branches[0] + "\n");
    const Table table(file, "fuse.plyfs", "defaults");
    const Ran ran = table.mount({table.mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(table.mountpoint);
    CHECK(names(mount.path()).empty());
}

TEST_CASE("umount(8) unmounts", "[fstab]") {
    const Branches branches{Ext4};
    const Table table(branches.spec(), "fuse.plyfs", "defaults");
    REQUIRE(table.mount({table.mountpoint}).status == 0);
    Mount mount = Mount::adopt(table.mountpoint);
    const Ran ran = run({"umount", table.mountpoint});
    INFO(ran.output);
    CHECK(ran.status == 0);
    mount.expect_end();
}

TEST_CASE("a fstab line that cannot be mounted fails with a message", "[fstab]") {
    const Branches branches{Ext4};
    const auto* const type = GENERATE("fuse.plyfs", "plyfs");
    const Table table(branches.path(0, "missing"), type, "defaults");
    const Ran ran = table.mount({table.mountpoint});
    CHECK(ran.status != 0);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs: "));
    CHECK_THAT(ran.output, ContainsSubstring("No such file or directory"));
    CHECK_FALSE(find_mount(table.mountpoint).mounted);
    CHECK(children().empty());
}

TEST_CASE("mount -f only says whether it could be mounted", "[fstab]") {
    const Branches branches{Ext4};
    const Table table(branches.spec(), "plyfs", "defaults");
    CHECK(table.mount({"-f", table.mountpoint}).status == 0);
    CHECK_FALSE(find_mount(table.mountpoint).mounted);
}

}  // namespace
}  // namespace plyfs::test
