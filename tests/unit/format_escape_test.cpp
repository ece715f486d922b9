// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/escape.h"

#include <catch2/catch_test_macros.hpp>

namespace plyfs::format {
namespace {

constexpr MarkRules kAll{};
constexpr MarkRules kTrusted = kernel_rules(Namespace::Trusted);
constexpr MarkRules kUser = kernel_rules(Namespace::User);

}  // namespace

TEST_CASE("marks are hidden in the namespaces that are believed", "[format]") {
    CHECK(is_mark_name("trusted.overlay.opaque", kAll));
    CHECK(is_mark_name("user.overlay.whatever", kAll));
    CHECK(is_mark_name("trusted.overlay.", kAll));
    CHECK(is_mark_name("user.fuseoverlayfs.opaque", kAll));
    CHECK_FALSE(is_mark_name("trusted.overlay", kAll));
    CHECK_FALSE(is_mark_name("trusted.overlayer", kAll));
    CHECK_FALSE(is_mark_name("security.overlay.opaque", kAll));
    CHECK_FALSE(is_mark_name("trusted.overlay.overlay.opaque", kAll));

    CHECK_FALSE(is_mark_name("user.overlay.opaque", kTrusted));
    CHECK_FALSE(is_mark_name("trusted.overlay.opaque", kUser));
    CHECK_FALSE(is_mark_name("user.fuseoverlayfs.opaque", kUser));
}

TEST_CASE("an application's overlay attributes are escaped, and shown as it calls them",
          "[format]") {
    for (const std::string asked :
         {"user.note", "trusted.overlay.opaque", "user.overlay.x", "trusted.overlay.overlay.opaque",
          "user.overlay.overlay.", "security.selinux", "trusted.overlay", "user.overlay.."}) {
        INFO(asked);
        const std::string stored = stored_xattr_name(asked, kAll).value();
        CHECK_FALSE(is_mark_name(stored, kAll));
        CHECK(shown_xattr_name(stored, kAll) == asked);
    }
    CHECK(stored_xattr_name("trusted.overlay.opaque", kAll).value() ==
          "trusted.overlay.overlay.opaque");
    CHECK(stored_xattr_name("user.overlay.overlay.x", kUser).value() ==
          "user.overlay.overlay.overlay.x");
    CHECK(stored_xattr_name("user.overlay.x", kTrusted).value() == "user.overlay.x");
    CHECK(stored_xattr_name("trusted.overlay.x", kUser).value() == "trusted.overlay.x");
}

TEST_CASE("attributes without an escaped form are refused", "[format]") {
    CHECK(stored_xattr_name("trusted.overlay.", kAll).error() == EINVAL);
    CHECK(stored_xattr_name("user.fuseoverlayfs.opaque", kAll).error() == EOPNOTSUPP);
    CHECK(stored_xattr_name("user.fuseoverlayfs.opaque", kUser).value() ==
          "user.fuseoverlayfs.opaque");
    const std::string fits = "user.overlay." + std::string(255 - 13 - 8, 'x');
    CHECK(stored_xattr_name(fits, kAll).value().size() == 255);
    CHECK(stored_xattr_name(fits + 'x', kAll).error() == EOPNOTSUPP);
}

TEST_CASE("a list of attributes loses the marks and one escape", "[format]") {
    const std::vector<std::string> stored{"user.note", "trusted.overlay.origin",
                                          "trusted.overlay.overlay.opaque", "user.overlay.impure",
                                          "security.capability"};
    CHECK(shown_xattr_names(stored, kAll) ==
          std::vector<std::string>{"user.note", "trusted.overlay.opaque", "security.capability"});
    CHECK(shown_xattr_names(stored, kTrusted) ==
          std::vector<std::string>{"user.note", "trusted.overlay.opaque", "user.overlay.impure",
                                   "security.capability"});
}

}  // namespace plyfs::format
