// SPDX-License-Identifier: GPL-2.0-or-later
//
// The form of the command line that mount -t overlay and fuse-overlayfs have.
#include <sys/mount.h>
#include <sys/stat.h>
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

Mount mount_layers(const Layers& layers, const std::string& options) {
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = layers.mount(options, mountpoint);
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    CHECK(ran.output.empty());
    return Mount::adopt(mountpoint);
}

TEST_CASE("options alone name the layers", "[overlay_form]") {
    const Layers layers;
    {
        const Mount mount = mount_layers(layers, layers.options());
        CHECK(find_mount(mount.path()).source == "plyfs");
        CHECK(names(mount.path()) == Names{"directory", "file", "gone"});
        put(mount.path("file"), "upper");
        put(mount.path("new"), "upper");
        CHECK(outcome(::unlink(mount.path("gone").c_str())) == kOk);
        CHECK(outcome(::rename(mount.path("directory").c_str(), mount.path("moved").c_str())) ==
              kOk);
        CHECK(content(mount.path("moved/inside")) == "lower");
        CHECK(names(mount.path()) == Names{"file", "moved", "new"});

        // Container engines read the upper layer meanwhile.
        CHECK(names(layers.path("upper")) == Names{"directory", "file", "gone", "moved", "new"});
        CHECK(S_ISCHR(status(layers.path("upper/gone")).st_mode));
        CHECK(names(layers.path("work")) == Names{"plyfs"});
    }
    CHECK(names(layers.path("upper")) == Names{"directory", "file", "gone", "moved", "new"});
    CHECK(names(layers.path("work")).empty());
    CHECK(content(layers.path("lower/file")) == "lower");
    const Mount again = mount_layers(layers, layers.options());
    CHECK(names(again.path()) == Names{"file", "moved", "new"});
}

TEST_CASE("nothing is hidden in the root where the work directory is apart", "[overlay_form]") {
    const Layers layers;
    const Mount mount = mount_layers(layers, layers.options());
    make_directory(mount.path(".plyfs"));
    CHECK(names(mount.path()).contains(".plyfs"));
    CHECK(exists(layers.path("upper/.plyfs")));
}

TEST_CASE("paths are relative to the current directory, options of others are warned about",
          "[overlay_form]") {
    const Layers layers;
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = layers.mount(
        "lowerdir=lower,upperdir=upper,workdir=work,,uidmapping=:0:1000:1,metacopy=off,"
        "index=off,userxattr,xino=off,nfs_export=off,noacl,squash_to_root,timeout=1,zebra",
        mountpoint);
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(mountpoint);
    CHECK(ran.output == "plyfs: warning: -o options: uidmapping: not supported, ignored\n"
                        "plyfs: warning: -o options: squash_to_root: not supported, ignored\n"
                        "plyfs: warning: -o options: zebra: unknown option, ignored\n");
    put(mount.path("file"), "upper");
    CHECK(content(layers.path("upper/file")) == "upper");
    CHECK(xattr_names(layers.path("upper/file")).contains("user.overlay.origin"));
}

TEST_CASE("mount -t plyfs takes the options of mount -t overlay", "[overlay_form][fstab]") {
    const Layers layers;
    const std::string mountpoint = make_scratch_directory();
    const auto* const type = GENERATE("plyfs", "fuse.plyfs");
    SECTION("on the command line") {
        const Ran ran =
            run({"mount", "-t", type, "overlay", mountpoint, "-o", layers.options() + ",noatime"});
        INFO(ran.output);
        REQUIRE(ran.status == 0);
    }
    SECTION("in fstab") {
        const std::string table = make_scratch_directory() + "/fstab";
        put(table,
            "overlay " + mountpoint + " " + type + " noatime," + layers.options() + " 0 0\n");
        const Ran ran = run({"mount", "-T", table, "-a"});
        INFO(ran.output);
        REQUIRE(ran.status == 0);
        CHECK(run({"mount", "-T", table, "-a"}).output.empty());
        CHECK(children().size() == 1);
    }
    const Mount mount = Mount::adopt(mountpoint);
    CHECK(find_mount(mountpoint).source == "overlay");
    CHECK(find_mount(mountpoint).has("noatime"));
    put(mount.path("file"), "upper");
    CHECK(content(layers.path("upper/file")) == "upper");
}

TEST_CASE("backslashes quote colons, commas and themselves in paths", "[overlay_form]") {
    const Layers layers;
    for (const auto* name : {"a:b", "c,d", "e\\f", "up,per", "wo:rk"})
        make_directory(layers.path(name));
    put(layers.path("a:b/colon"), "");
    put(layers.path("c,d/comma"), "");
    put(layers.path("e\\f/backslash"), "");
    const Mount mount = mount_layers(
        layers, R"(lowerdir=a\:b:c\,d:e\\f,upperdir=up\,per,workdir=wo\:rk,lowerdir+=lower)");
    CHECK(names(mount.path()) == Names{"backslash", "colon", "comma", "directory", "file", "gone"});
    put(mount.path("new"), "");
    CHECK(exists(layers.path("up,per/new")));
}

TEST_CASE("lower layers alone are a read-only mount", "[overlay_form]") {
    const Layers layers;
    make_directory(layers.path("top"));
    put(layers.path("top/file"), "top");
    const Mount mount = mount_layers(layers, "lowerdir=top:lower");
    CHECK(find_mount(mount.path()).has("ro"));
    CHECK(content(mount.path("file")) == "top");
    CHECK(try_open(mount.path("new"), O_WRONLY | O_CREAT) == EROFS);
    CHECK(names(layers.path("top")) == Names{"file"});
}

TEST_CASE("five hundred layers", "[overlay_form]") {
    constexpr int kLayers = 500;
    const Layers layers;
    std::string lower;
    for (int layer = 0; layer < kLayers; ++layer) {
        const std::string name = std::to_string(layer);
        make_directory(layers.path(name));
        make_directory(layers.path(name + "/all"));
        put(layers.path(name + "/all/" + name), name);
        put(layers.path(name + "/file"), name);
        lower += (layer == 0 ? "" : ":") + name;
    }
    const Mount mount = mount_layers(layers, "lowerdir=" + lower + ",upperdir=upper,workdir=work");
    CHECK(content(mount.path("file")) == "0");
    CHECK(names(mount.path("all")).size() == kLayers);
    for (const int layer : {0, 1, 250, 499})
        CHECK(content(mount.path("all/" + std::to_string(layer))) == std::to_string(layer));
    put(mount.path("all/499"), "changed");
    CHECK(content(layers.path("upper/all/499")) == "changed");
    CHECK(outcome(::unlink(mount.path("all/250").c_str())) == kOk);
    CHECK(names(mount.path("all")).size() == kLayers - 1);
}

TEST_CASE("what is plainly wrong with layers is an error", "[overlay_form]") {
    struct Row {
        const char* options;
        const char* error;
    };
    const auto row = GENERATE(
        Row{"lowerdir=missing", "lowerdir: "},
        Row{"lowerdir=lower,upperdir=upper", "workdir: is missing"},
        Row{"upperdir=upper,workdir=work", "lowerdir: is missing"},
        Row{"lowerdir=lower::upper", "only data"}, Row{"lowerdir=lower:", "has an empty path"},
        Row{"lowerdir=lower,datadir+=upper", "only data"},
        Row{"lowerdir=lower:lower", "is given twice"},
        Row{"lowerdir=lower,upperdir=lower,workdir=work", "is given twice"},
        Row{"lowerdir=lower,upperdir=upper,workdir=missing", "missing: No such file"},
        Row{"lowerdir=lower,upperdir=upper,workdir=upper", "is itself a branch"},
        Row{"lowerdir=lower,upperdir=upper,workdir=upper/work", "is inside the branch"},
        Row{"lowerdir=lower,upperdir=work/upper,workdir=work", "holds `upper`"},
        Row{"lowerdir=lower,upperdir=upper,workdir=/proc", "not on one mount"},
        Row{"lowerdir=lower,upperdir=upper,workdir=work,metacopy=maybe", "neither true nor false"},
        Row{"lowerdir=lower,redirect_dir=perhaps", "`perhaps` is not one of its values"});
    const Layers layers;
    make_directory(layers.path("upper/work"));
    if (std::string_view(row.options).find("work/upper") != std::string_view::npos)
        make_directory(layers.path("work/upper"));
    const std::string mountpoint = make_scratch_directory();
    CAPTURE(row.options);
    const Ran ran = layers.mount(row.options, mountpoint);
    CHECK(ran.status == 1);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs: ") && ContainsSubstring(row.error));
    CHECK_FALSE(find_mount(mountpoint).mounted);
}

TEST_CASE("a killed daemon's work directory apart is tidied by the next mount",
          "[overlay_form][crash]") {
    const Layers layers;
    Mount mount = mount_layers(layers, layers.options());
    CHECK(outcome(::unlink(mount.path("gone").c_str())) == kOk);
    kill_daemon(mount);
    CHECK(names(layers.path("work")) == Names{"plyfs"});
    {
        const Mount again = mount_layers(layers, layers.options());
    }
    CHECK(names(layers.path("work")).empty());
}

TEST_CASE("a branch of a configuration file may have its work directory apart",
          "[overlay_form][yaml]") {
    const Layers layers;
    const std::string file = layers.path("pool.yaml");
    put(file, "branches:\n  - path: upper\n    work: work\n  - lower=ro\n");
    const Mount mount(file);
    CHECK(outcome(::unlink(mount.path("gone").c_str())) == kOk);
    CHECK(names(layers.path("work")) == Names{"plyfs"});
    CHECK(names(layers.path("upper")) == Names{"gone"});
}

}  // namespace
}  // namespace plyfs::test
