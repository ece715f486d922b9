// SPDX-License-Identifier: GPL-2.0-or-later
//
// Containers are bind mounts inside of file systems: nothing the union tells the kernel may detach
// them.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

class BindMount {
public:
    BindMount(const std::string& source, std::string target) : target_(std::move(target)) {
        REQUIRE(outcome(::mount(source.c_str(), target_.c_str(), nullptr, MS_BIND, nullptr)) ==
                kOk);
    }
    BindMount(const BindMount&) = delete;
    BindMount& operator=(const BindMount&) = delete;
    ~BindMount() {
        CHECK(mounted());
        ::umount2(target_.c_str(), MNT_DETACH);
    }
    bool mounted() const { return find_mount(target_).mounted; }

private:
    std::string target_;
};

TEST_CASE("bind mounts in the union survive what happens beside them", "[bind]") {
    const Union united({Ext4, Ext4}, GENERATE("", "cache.entry=0,cache.attr=0"));
    const Branches outside{Ext4};
    put(outside.path(0, "file"), "outside");
    make_directory(united.path("directory"));
    make_directory(united.path("directory/mountpoint"));
    put(united.path("directory/file"), "covered");
    {
        const BindMount file(outside.path(0, "file"), united.path("directory/file"));
        const BindMount directory(outside[0], united.path("directory/mountpoint"));
        const auto intact = [&] {
            return file.mounted() && directory.mounted() &&
                   content(united.path("directory/file")) == "outside" &&
                   content(united.path("directory/mountpoint/file")) == "outside";
        };
        REQUIRE(intact());
        SECTION("names made, renamed and removed") {
            for (int i = 0; i < 20; ++i) {
                put(united.path("directory/a"), "");
                REQUIRE(::rename(united.path("directory/a").c_str(),
                                 united.path("directory/b").c_str()) == 0);
                REQUIRE(::unlink(united.path("directory/b").c_str()) == 0);
            }
        }
        SECTION("their directory's attributes") {
            REQUIRE(::chmod(united.path("directory").c_str(), 0711) == 0);
            REQUIRE(::chown(united.path("directory").c_str(), 20'001, 30'001) == 0);
            REQUIRE(::setxattr(united.path("directory").c_str(), "user.a", "b", 1, 0) == 0);
        }
        SECTION("their directory renamed") {
            REQUIRE(::rename(united.path("directory").c_str(), united.path("moved").c_str()) == 0);
            CHECK(find_mount(united.path("moved/file")).mounted);
            CHECK(content(united.path("moved/file")) == "outside");
            REQUIRE(::rename(united.path("moved").c_str(), united.path("directory").c_str()) == 0);
        }
        SECTION("what they cover changed on the branch") {
            const std::size_t branch = exists(united.branches.path(0, "directory/file")) ? 0 : 1;
            put(united.branches.path(branch, "directory/file"), "changed below");
            REQUIRE(::chmod(united.branches.path(branch, "directory/file").c_str(), 0600) == 0);
        }
        SECTION("a mountpoint is neither removed nor replaced") {
            CHECK(outcome(::unlink(united.path("directory/file").c_str())) == EBUSY);
            CHECK(outcome(::rmdir(united.path("directory/mountpoint").c_str())) == EBUSY);
            put(united.path("other"), "");
            CHECK(outcome(::rename(united.path("other").c_str(),
                                   united.path("directory/file").c_str())) == EBUSY);
        }
        CHECK(intact());
        (void)names(united.path("directory"));
        CHECK(intact());
    }
    CHECK(content(united.path("directory/file")) != "outside");
}

TEST_CASE("a file of the union mounted elsewhere is written", "[bind]") {
    const Union united{Ext4};
    const Branches outside{Ext4};
    put(united.path("file"), "content");
    put(outside.path(0, "mountpoint"), "");
    const BindMount bound(united.path("file"), outside.path(0, "mountpoint"));
    REQUIRE(::rename(united.path("file").c_str(), united.path("renamed").c_str()) == 0);
    put(outside.path(0, "mountpoint"), "through the mount");
    CHECK(content(united.path("renamed")) == "through the mount");
    REQUIRE(::chmod(united.path("renamed").c_str(), 0600) == 0);
    CHECK(mode_of(outside.path(0, "mountpoint")) == 0600);
}

TEST_CASE("a union inside a union's mount", "[bind][nested]") {
    const Union outer{Ext4};
    make_directory(outer.path("branch"));
    const Mount inner(outer.path("branch"));
    put(inner.path("file"), "content");
    CHECK(content(outer.path("branch/file")) == "content");
    CHECK(content(inner.path("file")) == "content");
}

}  // namespace
}  // namespace plyfs::test
