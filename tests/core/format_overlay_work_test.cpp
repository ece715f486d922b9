// SPDX-License-Identifier: GPL-2.0-or-later
//
// The work directory: shared with the kernel's overlayfs, which refuses and sweeps as we do.
#include "format/overlay_work.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <filesystem>

#include "core/host_files.h"
#include "core/overlay_mount.h"
#include "format/sweep.h"
#include "format/temporary_name.h"

namespace plyfs::test {
namespace {

using Names = std::vector<std::string>;

// Below the base of a work directory, which is `work` here.
const std::string kFeatures = "work/" + std::string("work/incompat");

Names features(const OverlayMount& layers) {
    return format::incompatible_features(layers.open("work").get()).value();
}

}  // namespace

TEST_CASE("what the kernel mounted volatile is refused until it is made clean",
          "[format][overlayfs]") {
    OverlayMount layers;
    CHECK(features(layers).empty());
    layers.mount("volatile");
    layers.unmount();
    CHECK(features(layers) == Names{"volatile"});
    const UniqueFd base = layers.open("work");
    CHECK(format::open_overlay_work(base.get(), false).error() == EINVAL);
    CHECK(layers.try_mount() == EINVAL);

    REQUIRE(format::remove_volatile(base.get()));
    CHECK(features(layers).empty());
    CHECK(layers.names("work/work").empty());
    CHECK(format::open_overlay_work(base.get(), false));
    CHECK(layers.try_mount() == 0);
}

TEST_CASE("the kernel refuses what was marked volatile here", "[format][overlayfs]") {
    OverlayMount layers;
    const UniqueFd base = layers.open("work");
    REQUIRE(format::set_volatile(base.get()));
    REQUIRE(format::set_volatile(base.get()));
    CHECK(exists(layers.path(kFeatures + "/volatile/dirty")));
    CHECK(layers.try_mount() == EINVAL);
    CHECK(layers.try_mount("volatile") == EINVAL);
    REQUIRE(format::remove_volatile(base.get()));
    REQUIRE(format::remove_volatile(base.get()));
    layers.mount();
}

TEST_CASE("a feature that nobody knows is refused and stays", "[format][overlayfs]") {
    OverlayMount layers;
    const UniqueFd base = layers.open("work");
    REQUIRE(format::set_volatile(base.get()));
    layers.make_directory(kFeatures + "/future");
    CHECK(features(layers) == Names{"future", "volatile"});
    REQUIRE(format::remove_volatile(base.get()));
    CHECK(features(layers) == Names{"future"});
    CHECK(format::open_overlay_work(base.get(), true).error() == EINVAL);
    CHECK(layers.try_mount() == EINVAL);
    CHECK(layers.names(kFeatures) == Names{"future"});
}

TEST_CASE("an empty directory of features hinders nobody", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("work/work");
    layers.make_directory((std::filesystem::path("work") / "work" / "incompat").string());
    CHECK(features(layers).empty());
    CHECK(format::open_overlay_work(layers.open("work").get(), false));
    CHECK(layers.names("work/work").empty());
    layers.mount();
}

TEST_CASE("a work directory is private whatever its parent hands down", "[format]") {
    const OverlayMount layers;
    host_chmod(layers.path("work"), 02777);
    const UniqueFd base = layers.open("work");
    const format::OverlayWork work = format::open_overlay_work(base.get(), true).value();
    CHECK((host_stat(layers.path("work/work")).st_mode & 07777) == 0700);
    CHECK((host_stat(layers.path("work/index")).st_mode & 07777) == 0700);
    CHECK(work.index);
    CHECK_FALSE(format::open_overlay_work(base.get(), false)->index);
}

TEST_CASE("each sweeps what the other left", "[format][overlayfs]") {
    OverlayMount layers;
    const UniqueFd base = layers.open("work");
    REQUIRE(format::open_overlay_work(base.get(), true));
    const std::string temporary = format::temporary_name();
    layers.make_file((std::filesystem::path("work") / "work" / temporary).string());
    layers.make_file("work/index/" + temporary);
    layers.mount("index=on");
    CHECK(layers.names("work/work").empty());
    CHECK(layers.names("work/index").empty());
    layers.make_file("lower/f");
    REQUIRE(::unlink(layers.path("merged/f").c_str()) == 0);
    layers.unmount();
    REQUIRE(layers.names("work/index").size() == 1);  // the whiteout that it shares
    REQUIRE(format::open_overlay_work(base.get(), true));
    CHECK(layers.names("work/index").empty());
}

TEST_CASE("only stale names are swept, however deep", "[format]") {
    const OverlayMount layers;
    std::string path = "work/#1";
    for (int depth = 0; depth < 200; ++depth) {
        layers.make_directory(path);
        layers.make_file(path + "/file", "");
        path += "/d";
    }
    layers.make_directory("work/kept");
    layers.make_file("work/kept/#2");
    REQUIRE(::symlink("kept", layers.path("work/#3").c_str()) == 0);
    CHECK(format::sweep(layers.open("work").get(), format::is_temporary_name) == 401U);
    CHECK(layers.names("work") == Names{"kept"});
    CHECK(exists(layers.path("work/kept/#2")));
}

}  // namespace plyfs::test
