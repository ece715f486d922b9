// SPDX-License-Identifier: GPL-2.0-or-later
//
// What plyfs keeps in the index and in copies without data is continued by the kernel's overlayfs,
// and the other way round.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>

#include "mount/files.h"
#include "mount/layers.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

// The layers mounted by one of the two until this ends.
class Mounted {
public:
    Mounted(const Layers& layers, bool by_kernel) : path_(make_scratch_directory()) {
        if (by_kernel) {
            const std::string options = layers.options() + ",index=on,metacopy=on,redirect_dir=on";
            REQUIRE(outcome(::mount("overlay", path_.c_str(), "overlay", 0, options.c_str())) ==
                    kOk);
            return;
        }
        const Ran ran = layers.mount(layers.options() + ",metacopy=on", path_);
        INFO(ran.output);
        REQUIRE(ran.status == 0);
        plyfs_ = std::make_unique<Mount>(Mount::adopt(path_));
    }
    ~Mounted() {
        if (!plyfs_) CHECK(outcome(::umount2(path_.c_str(), UMOUNT_NOFOLLOW)) == kOk);
    }
    Mounted(const Mounted&) = delete;
    Mounted& operator=(const Mounted&) = delete;

    std::string path(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
    std::unique_ptr<Mount> plyfs_;
};

void check_one_file(const Mounted& mount, const std::vector<std::string>& names,
                    const std::string& text) {
    for (const std::string& name : names) {
        INFO(name);
        CHECK(content(mount.path(name)) == text);
        CHECK(status(mount.path(name)).st_nlink == names.size());
        CHECK(status(mount.path(name)).st_ino == status(mount.path(names.front())).st_ino);
    }
}

TEST_CASE("hard links and copies without data go to overlayfs and back",
          "[overlay_form][interchange]") {
    require_sandbox();
    const Layers layers;
    put(layers.path("lower/a"), "lower");
    for (const char* const name : {"lower/b", "lower/directory/c"}) {
        REQUIRE(outcome(::link(layers.path("lower/a").c_str(), layers.path(name).c_str())) == kOk);
    }
    const std::string big(300'000, 'x');
    put(layers.path("lower/big"), big);
    const bool kernel_first = GENERATE(false, true);
    {
        const Mounted mount(layers, kernel_first);
        put(mount.path("b"), "new");
        check_one_file(mount, {"a", "b", "directory/c"}, "new");
        REQUIRE(outcome(::unlink(mount.path("a").c_str())) == kOk);
        REQUIRE(outcome(::chmod(mount.path("big").c_str(), 0600)) == kOk);
        REQUIRE(outcome(::rename(mount.path("big").c_str(), mount.path("moved").c_str())) == kOk);
    }
    CHECK(status(layers.path("upper/moved")).st_blocks <= 8);  // of its attributes
    {
        const Mounted mount(layers, !kernel_first);
        check_one_file(mount, {"b", "directory/c"}, "new");
        REQUIRE(outcome(::link(mount.path("directory/c").c_str(), mount.path("d").c_str())) == kOk);
        check_one_file(mount, {"b", "directory/c", "d"}, "new");
        CHECK((content(mount.path("moved")) == big));
        CHECK(status(mount.path("moved")).st_blocks == status(layers.path("lower/big")).st_blocks);
        REQUIRE(outcome(::chmod(mount.path("moved").c_str(), 0640)) == kOk);
    }
    CHECK(status(layers.path("upper/moved")).st_blocks <= 8);  // of its attributes
    {
        const Mounted mount(layers, kernel_first);
        check_one_file(mount, {"b", "directory/c", "d"}, "new");
        CHECK((content(mount.path("moved")) == big));
        CHECK(mode_of(mount.path("moved")) == 0640);
        REQUIRE(outcome(::truncate(mount.path("moved").c_str(), 3)) == kOk);
        CHECK(content(mount.path("moved")) == "xxx");
    }
    CHECK(content(layers.path("upper/moved")) == "xxx");
    CHECK(content(layers.path("lower/a")) == "lower");
    CHECK((content(layers.path("lower/big")) == big));
}

TEST_CASE("a copy that lost its last name in a crash is swept at a mount",
          "[overlay_form][interchange]") {
    require_sandbox();
    const Layers layers;
    const std::string index = layers.path("work/index");
    put(layers.path("lower/a"), "lower");
    REQUIRE(outcome(::link(layers.path("lower/a").c_str(), layers.path("lower/b").c_str())) == kOk);
    {
        const Mounted mount(layers, false);
        put(mount.path("b"), "new");
    }
    // With one more link the last unlink does not see that it is the last one.
    REQUIRE(names(index).size() == 1);
    const std::string entry = index + '/' + *names(index).begin();
    const std::string hidden = layers.path("upper/hidden");
    REQUIRE(outcome(::link(entry.c_str(), hidden.c_str())) == kOk);
    {
        const Mounted mount(layers, false);
        for (const char* const name : {"a", "b"}) {
            REQUIRE(outcome(::unlink(mount.path(name).c_str())) == kOk);
        }
    }
    REQUIRE(outcome(::unlink(hidden.c_str())) == kOk);
    REQUIRE(names(index).size() == 1);
    const bool by_kernel = GENERATE(false, true);
    {
        const Mounted mount(layers, by_kernel);
        CHECK(names(index).empty());
    }
}

}  // namespace
}  // namespace plyfs::test
