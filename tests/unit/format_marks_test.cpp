// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>

#include "format/detect.h"
#include "format/temporary_name.h"
#include "format/whiteout.h"

namespace plyfs::format {

TEST_CASE("marks have overlayfs's names", "[format]") {
    CHECK(std::string(xattr_name(Mark::Opaque, Namespace::Trusted)) == "trusted.overlay.opaque");
    CHECK(std::string(xattr_name(Mark::Links, Namespace::User)) == "user.overlay.nlink");
    CHECK(std::string(xattr_name(Mark::Whiteout, Namespace::User)) == "user.overlay.whiteout");
    CHECK(std::string(xattr_name(Mark::Protection, Namespace::Trusted)) ==
          "trusted.overlay.protattr");
}

TEST_CASE("a character device 0:0 alone is a whiteout", "[format]") {
    Attributes attributes;
    attributes.mode = S_IFCHR;
    CHECK(is_device_whiteout(attributes));
    attributes.device_number = 1;
    CHECK_FALSE(is_device_whiteout(attributes));
    attributes.device_number = 0;
    attributes.mode = S_IFBLK;
    CHECK_FALSE(is_device_whiteout(attributes));
}

TEST_CASE("dot files hide the name that they hold", "[format]") {
    CHECK(hidden_by_dot_file(".wh.name") == "name");
    CHECK(hidden_by_dot_file(".wh..hidden") == ".hidden");
    CHECK_FALSE(hidden_by_dot_file("name"));
    CHECK_FALSE(hidden_by_dot_file(".wh."));
    CHECK_FALSE(hidden_by_dot_file(".wh.."));
    CHECK_FALSE(hidden_by_dot_file(".wh..."));
    CHECK_FALSE(hidden_by_dot_file(".wh..wh..opq"));
    CHECK_FALSE(hidden_by_dot_file(".wh..wh.plnk"));
    CHECK(hidden_by_dot_file(".wh....") == "...");

    const std::string longest(251, 'n');
    const std::string longer(252, 'n');
    CHECK(dot_file_name(*Name::from(longest)).value() == ".wh." + longest);
    CHECK(dot_file_name(*Name::from(longer)).error() == ENAMETOOLONG);
    CHECK(dot_file_name(*Name::from(".wh.name")).error() == EINVAL);
}

TEST_CASE("readdir asks further only where a name may be a whiteout", "[format]") {
    constexpr DirectoryMarks kPlain{};
    constexpr DirectoryMarks kWhiteouts{.whiteout_files = true};
    constexpr MarkRules kAnyRules{};
    constexpr MarkRules kKernel = kernel_rules(Namespace::Trusted);
    CHECK(kind_of_entry("f", DT_REG, kPlain, kAnyRules) == EntryKind::Object);
    CHECK(kind_of_entry("f", DT_REG, kWhiteouts, kAnyRules) == EntryKind::Possible);
    CHECK(kind_of_entry("f", DT_DIR, kWhiteouts, kAnyRules) == EntryKind::Object);
    CHECK(kind_of_entry("f", DT_CHR, kPlain, kAnyRules) == EntryKind::Possible);
    CHECK(kind_of_entry("f", DT_UNKNOWN, kPlain, kAnyRules) == EntryKind::Possible);
    CHECK(kind_of_entry(".wh.f", DT_REG, kPlain, kAnyRules) == EntryKind::DotWhiteout);
    CHECK(kind_of_entry(".wh..wh..opq", DT_REG, kPlain, kAnyRules) == EntryKind::Hidden);
    CHECK(kind_of_entry(".wh.", DT_DIR, kPlain, kAnyRules) == EntryKind::Hidden);
    CHECK(kind_of_entry(".wh.f", DT_REG, kPlain, kKernel) == EntryKind::Object);
}

TEST_CASE("temporary names differ and are known again", "[format]") {
    const std::string first = temporary_name();
    CHECK(first != temporary_name());
    CHECK(is_temporary_name(first));
    CHECK(is_temporary_name("#2d"));
    CHECK_FALSE(is_temporary_name("00fb21"));
}

TEST_CASE("marks are written in the best form that works", "[format]") {
    MarkSupport support;
    CHECK(choose_format(support, {}).value() == MarkFormat{});
    support.trusted = Errno(EPERM);
    support.device = Errno(EPERM);
    CHECK(choose_format(support, {}).value() ==
          MarkFormat{.names = Namespace::User, .whiteout = WhiteoutKind::DotFile});
    support.user = Errno(EOPNOTSUPP);
    CHECK(choose_format(support, {}).value() ==
          MarkFormat{.names = std::nullopt, .whiteout = WhiteoutKind::DotFile});
}

TEST_CASE("a form that can't be had is refused with its reason", "[format]") {
    MarkSupport support;
    support.trusted = Errno(EPERM);
    support.device = Errno(EPERM);
    const auto trusted = choose_format(support, {.names = Namespace::Trusted, .whiteout = {}});
    REQUIRE_FALSE(trusted);
    CHECK(trusted.error().what == MarkRefusal::What::Trusted);
    CHECK(trusted.error().message().find("userxattr") != std::string::npos);
    const auto device = choose_format(support, {.names = {}, .whiteout = WhiteoutKind::Device});
    REQUIRE_FALSE(device);
    CHECK(device.error().what == MarkRefusal::What::Device);
    CHECK(device.error().error == EPERM);
    support.user = Errno(EOPNOTSUPP);
    const auto file = choose_format(support, {.names = {}, .whiteout = WhiteoutKind::XattrFile});
    REQUIRE_FALSE(file);
    CHECK(file.error().what == MarkRefusal::What::NoAttributes);
}

}  // namespace plyfs::format
