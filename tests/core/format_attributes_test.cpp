// SPDX-License-Identifier: GPL-2.0-or-later
//
// Attributes of applications beside those of the union, the union's UUID and inode flags: the same
// through the kernel's overlayfs.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/host_files.h"
#include "core/overlay_mount.h"
#include "core/scratch_file_system.h"
#include "format/escape.h"
#include "format/protection.h"
#include "format/union_uuid.h"
#include "sys/data.h"
#include "sys/file_system_identity.h"
#include "sys/metadata.h"
#include "sys/open.h"

namespace plyfs::test {
namespace {

using format::Namespace;
using Names = std::vector<std::string>;

Names attributes(const OverlayMount& layers, const std::string& object) {
    Names names = sys::xattr_names(layers.open(object).get()).value();
    std::ranges::sort(names);
    return names;
}

int set(const OverlayMount& layers, const std::string& object, const std::string& name) {
    return ::setxattr(layers.path(object).c_str(), name.c_str(), "v", 1, 0) == 0 ? 0 : errno;
}

std::uint32_t flags_of(const OverlayMount& layers, const std::string& path) {
    const UniqueFd file(::open(layers.path(path).c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(file);
    return sys::inode_flags(file.get()).value_or(0) & (FS_APPEND_FL | FS_IMMUTABLE_FL);
}

}  // namespace

TEST_CASE("only forms that an object has are present", "[format]") {
    const ScratchDirectory directory;
    const UniqueFd object = sys::open_host_path(directory.path(), O_PATH).value();
    const auto add = [&](const std::string& name) {
        REQUIRE(::setxattr(directory.path().c_str(), name.c_str(), "v", 1, 0) == 0);
    };
    const auto present = [&] { return format::forms_present(object.get(), {}); };
    format::MarkRules expected{.trusted = false, .user = false, .fuse_overlayfs = false};
    CHECK(present() == expected);
    add("user.overlay");
    add("trusted.note");
    CHECK(present() == expected);
    add("trusted.overlay.impure");
    expected.trusted = true;
    CHECK(present() == expected);
    add("user.overlay.redirect");
    add("user.fuseoverlayfs.opaque");
    CHECK(present() == format::MarkRules{});
    const format::MarkRules none{
        .trusted = false, .user = false, .fuse_overlayfs = false, .dot_files = false};
    CHECK(format::forms_present(object.get(), none) == none);
    SECTION("and all may be where there is too much to list") {
        REQUIRE(::removexattr(directory.path().c_str(), "user.overlay.redirect") == 0);
        CHECK_FALSE(present().user);
        for (int i = 0; i < 10; ++i) add("user." + std::string(120, 'x') + std::to_string(i));
        CHECK(present() == format::MarkRules{});
    }
}

TEST_CASE("attributes are escaped as the kernel does", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("upper/f");
    const bool user = GENERATE(false, true);
    const format::MarkRules rules =
        format::kernel_rules(user ? Namespace::User : Namespace::Trusted);
    layers.mount(user ? "userxattr" : "");
    for (const std::string asked :
         {"user.note", "user.overlay.opaque", "trusted.overlay.opaque", "user.overlay.overlay.x",
          "trusted.overlay.overlay.overlay.x", "user.overlay", "trusted.overlay.", "user.overlay.",
          "user.fuseoverlayfs.opaque"}) {
        INFO(asked);
        const auto stored = format::stored_xattr_name(asked, rules);
        CHECK(set(layers, "merged/f", asked) == (stored ? 0 : stored.error().code()));
        if (!stored) continue;
        CHECK(attributes(layers, "upper/f") == Names{*stored});
        CHECK(attributes(layers, "merged/f") == Names{asked});
        CHECK(format::shown_xattr_names({*stored}, rules) == Names{asked});
        REQUIRE(::removexattr(layers.path("merged/f").c_str(), asked.c_str()) == 0);
    }
    const std::string fits =
        (user ? "user.overlay." : "trusted.overlay.") + std::string(user ? 234 : 231, 'x');
    CHECK(set(layers, "merged/f", fits) == 0);
    CHECK(set(layers, "merged/f", fits + 'x') == EOPNOTSUPP);
    CHECK(format::stored_xattr_name(fits, rules));
    CHECK(format::stored_xattr_name(fits + 'x', rules).error() == EOPNOTSUPP);
}

TEST_CASE("a nested overlay's marks survive in an overlay", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/d");
    const std::string stored = format::stored_xattr_name("trusted.overlay.opaque", {}).value();
    REQUIRE(set(layers, "lower/d", stored) == 0);
    layers.mount();
    CHECK(attributes(layers, "merged/d") == Names{"trusted.overlay.opaque"});
    REQUIRE(::chmod(layers.path("merged/d").c_str(), 0700) == 0);
    const Names copied = attributes(layers, "upper/d");
    CHECK(std::ranges::count(copied, stored) == 1);
}

TEST_CASE("the union's UUID is the one that the kernel keeps", "[format][overlayfs]") {
    OverlayMount layers;
    const UniqueFd upper = layers.open("upper");
    const bool ours = GENERATE(false, true);
    const format::Uuid uuid = format::make_union_uuid().value();
    CHECK(uuid != format::make_union_uuid().value());
    CHECK_FALSE(format::read_union_uuid(upper.get(), {}).value());
    if (ours) REQUIRE(format::write_union_uuid(upper.get(), {}, uuid));
    layers.mount("uuid=on");
    const UniqueFd merged = layers.open("merged");
    const format::Uuid shown = sys::file_system_identity(merged.get()).value().uuid;
    CHECK(format::read_union_uuid(upper.get(), {}).value() == shown);
    CHECK((shown == uuid) == ours);
}

TEST_CASE("inode flags are kept as the kernel keeps them", "[format][overlayfs]") {
    OverlayMount layers(FileSystemKind::Ext4);
    layers.make_file("lower/f");
    layers.make_file("lower/g");
    layers.make_file("upper/g");
    const format::Protection append{.append = true};
    REQUIRE(format::write_protection(layers.open("upper/g").get(), {},
                                     {.append = false, .immutable = true}));
    layers.mount();
    CHECK(flags_of(layers, "merged/g") == FS_IMMUTABLE_FL);
    CHECK(flags_of(layers, "upper/g") == 0);
    const UniqueFd file(::open(layers.path("merged/f").c_str(), O_RDONLY | O_CLOEXEC));
    if (!sys::set_inode_flags(file.get(), FS_APPEND_FL)) SKIP("no right to set inode flags");
    CHECK(format::read_protection(layers.open("upper/f").get(), {}).value() == append);
    CHECK(flags_of(layers, "upper/f") == 0);
    REQUIRE(sys::set_inode_flags(file.get(), 0));
    CHECK(format::read_protection(layers.open("upper/f").get(), {}).value() ==
          format::Protection{});
    REQUIRE(format::write_protection(layers.open("upper/g").get(), {}, {}));
    CHECK(attributes(layers, "upper/g").empty());
}

}  // namespace plyfs::test
