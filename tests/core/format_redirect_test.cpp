// SPDX-License-Identifier: GPL-2.0-or-later
//
// Redirects and files without data: the kernel's are read, ours make it show the lower object.
#include "format/redirect.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdio>

#include "core/host_files.h"
#include "core/overlay_mount.h"
#include "format/directory_marks.h"
#include "format/metacopy.h"

namespace plyfs::test {
namespace {

using format::MarkFormat;
using format::Metacopy;
using format::Namespace;
using format::Redirect;

void move(const OverlayMount& layers, const std::string& from, const std::string& to) {
    REQUIRE(std::rename(layers.path(from).c_str(), layers.path(to).c_str()) == 0);
}

std::optional<Redirect> redirect_of(const OverlayMount& layers, const std::string& object) {
    return format::read_redirect(layers.open(object).get(), {}).value();
}

}  // namespace

TEST_CASE("a directory that the kernel moved says where it was", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/a");
    layers.make_directory("lower/a/b");
    layers.make_directory("lower/c");
    layers.make_directory("lower/e");
    layers.mount("redirect_dir=on");
    move(layers, "merged/a/b", "merged/a/B");
    move(layers, "merged/a/B", "merged/c/b");
    move(layers, "merged/e", "merged/E");
    layers.unmount();
    CHECK(redirect_of(layers, "upper/c/b") == Redirect{true, {"a", "b"}});
    CHECK(redirect_of(layers, "upper/E") == Redirect{false, {"e"}});
    CHECK_FALSE(redirect_of(layers, "upper/c"));
}

TEST_CASE("the kernel follows a redirect that was written here", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/a");
    layers.make_directory("lower/a/b");
    layers.make_file("lower/a/b/file");
    layers.make_directory("lower/e");
    layers.make_file("lower/e/other");
    layers.make_directory("upper/c");
    layers.make_directory("upper/here");
    const bool user = GENERATE(false, true);
    const MarkFormat format{.names = user ? Namespace::User : Namespace::Trusted};
    REQUIRE(format::write_redirect(layers.open("upper/c").get(), format, {true, {"a", "b"}}));
    REQUIRE(format::write_redirect(layers.open("upper/here").get(), format,
                                   format::relative_redirect(*Name::from("e"))));
    // With userxattr the kernel follows no redirects (overlayfs: ovl_fs_params_verify).
    layers.mount(user ? "userxattr" : "redirect_dir=follow");
    if (user) {
        CHECK(::access(layers.path("merged/c").c_str(), F_OK) != 0);
        return;
    }
    CHECK(host_read(layers.path("merged/c/file")) == "bytes");
    CHECK(host_read(layers.path("merged/here/other")) == "bytes");
}

TEST_CASE("what the kernel takes for a redirect and what not is the same here",
          "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/a");
    layers.make_directory("lower/a/b");
    layers.make_file("lower/a/b/file");
    layers.make_directory("upper/d");
    const std::string value = GENERATE(as<std::string>{}, "/a/b", "/a//b", "/a/b/", "a/b", "/",
                                       "/a/./b", "/a/../a/b", "..", "a");
    REQUIRE(::setxattr(layers.path("upper/d").c_str(), "trusted.overlay.redirect", value.data(),
                       value.size(), 0) == 0);
    layers.mount("redirect_dir=on");
    INFO(value);
    const bool found = ::access(layers.path("merged/d").c_str(), F_OK) == 0;
    CHECK(found == format::parse_redirect(value).has_value());
}

TEST_CASE("a file of which the kernel copied no data is recognised", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/f", "lower data");
    layers.make_directory("lower/d");
    layers.mount("metacopy=on,redirect_dir=on");
    REQUIRE(::chmod(layers.path("merged/f").c_str(), 0600) == 0);
    const auto metacopy = [&](const std::string& object) {
        return format::read_metacopy(layers.open(object).get(), {}).value();
    };
    CHECK(metacopy("upper/f") == Metacopy{});
    CHECK(host_stat(layers.path("upper/f")).st_size == 10);
    CHECK(host_stat(layers.path("upper/f")).st_blocks == 0);
    move(layers, "merged/f", "merged/d/g");
    CHECK(redirect_of(layers, "upper/d/g") == Redirect{true, {"f"}});
    host_write(layers.path("merged/d/g"), "written");
    CHECK_FALSE(metacopy("upper/d/g"));
}

TEST_CASE("the kernel shows the lower data of a metacopy that was written here",
          "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/f", "lower data");
    layers.make_file("lower/moved", "moved data");
    layers.make_file("upper/f", "");
    layers.make_file("upper/g", "");
    for (const char* const name : {"upper/f", "upper/g"}) {
        REQUIRE(::truncate(layers.path(name).c_str(), 10) == 0);
        REQUIRE(format::write_metacopy(layers.open(name).get(), {}, {}));
    }
    REQUIRE(format::write_redirect(layers.open("upper/g").get(), {}, {true, {"moved"}}));
    layers.mount("metacopy=on");
    CHECK(host_read(layers.path("merged/f")) == "lower data");
    CHECK(host_read(layers.path("merged/g")) == "moved data");
    layers.unmount();
    REQUIRE(format::remove_metacopy(layers.open("upper/f").get(), {}));
    CHECK_FALSE(format::read_metacopy(layers.open("upper/f").get(), {}).value());
    layers.mount("metacopy=on");
    CHECK(host_read(layers.path("merged/f")) == std::string(10, '\0'));
}

TEST_CASE("the kernel reads a digest that was written here, and refuses what is too short",
          "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/f", "lower data");
    layers.make_file("lower/g", "lower data");
    for (const char* const name : {"upper/f", "upper/g"}) {
        layers.make_file(name, "");
        REQUIRE(::truncate(layers.path(name).c_str(), 10) == 0);
    }
    const Metacopy metacopy{.flags = 0, .digest_algorithm = 1, .digest = std::string(32, 'd')};
    REQUIRE(format::write_metacopy(layers.open("upper/f").get(), {}, metacopy));
    CHECK(format::read_metacopy(layers.open("upper/f").get(), {}).value() == metacopy);
    const UniqueFd damaged = layers.open("upper/g");
    REQUIRE(format::write_mark(damaged.get(), format::Mark::Metacopy, {}, "y"));
    CHECK(format::read_metacopy(damaged.get(), {}).error() == EIO);
    layers.mount("metacopy=on");
    CHECK(host_read(layers.path("merged/f")) == "lower data");
    CHECK(::access(layers.path("merged/g").c_str(), F_OK) != 0);
    CHECK(errno == EIO);
}

TEST_CASE("the parent of what the kernel copied up is impure", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/d");
    layers.make_file("lower/d/f");
    layers.make_directory("lower/other");
    layers.mount();
    REQUIRE(::chmod(layers.path("merged/d/f").c_str(), 0600) == 0);
    REQUIRE(::chmod(layers.path("merged/other").c_str(), 0700) == 0);
    layers.unmount();
    CHECK(format::is_impure(layers.open("upper/d").get(), {}).value());
    CHECK_FALSE(format::is_impure(layers.open("upper/other").get(), {}).value());
    REQUIRE(format::set_impure(layers.open("upper/other").get(), {}));
    CHECK(format::is_impure(layers.open("upper/other").get(), {}).value());
}

}  // namespace plyfs::test
