// SPDX-License-Identifier: GPL-2.0-or-later
//
// Origins: those that the kernel's overlayfs writes lead to the lower object, ours are the same
// bytes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/host_files.h"
#include "core/overlay_mount.h"
#include "format/handle_record.h"
#include "sys/statx.h"

namespace plyfs::test {
namespace {

using format::HandleMark;
using format::HandleRecord;
using format::Mark;
using format::MarkFormat;
using format::Namespace;
using format::UuidRule;

std::string attribute(const OverlayMount& layers, const std::string& object, const char* name) {
    std::array<char, 256> bytes{};
    const ssize_t size = ::lgetxattr(layers.path(object).c_str(), name, bytes.data(), bytes.size());
    REQUIRE(size >= 0);
    return {bytes.data(), static_cast<std::size_t>(size)};
}

HandleMark origin_of(const OverlayMount& layers, const std::string& object) {
    return format::read_handle_mark(layers.open(object).get(), Mark::Origin, {}).value();
}

}  // namespace

TEST_CASE("the kernel's origin is the record of the lower object", "[format][overlayfs]") {
    const FileSystemKind kind = GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4);
    OverlayMount layers(kind);
    layers.make_file("lower/f");
    layers.make_directory("lower/d");
    REQUIRE(::symlink("f", layers.path("lower/s").c_str()) == 0);
    layers.mount();
    REQUIRE(::chmod(layers.path("merged/f").c_str(), 0600) == 0);
    REQUIRE(::chmod(layers.path("merged/d").c_str(), 0700) == 0);
    REQUIRE(::lchown(layers.path("merged/s").c_str(), 1, 1) == 0);
    layers.unmount();

    for (const std::string name : {"f", "d", "s"}) {
        INFO(name);
        const std::string bytes = attribute(layers, "upper/" + name, "trusted.overlay.origin");
        CHECK(encode(record_of(layers, "lower/" + name)) == bytes);
        const HandleMark mark = origin_of(layers, "upper/" + name);
        REQUIRE(mark.record);
        CHECK(*mark.record == record_of(layers, "lower/" + name));
        const UniqueFd mount = layers.open("lower");
        const UniqueFd opened = format::open_handle_record(mount.get(), layers.uuid(),
                                                           UuidRule::Known, *mark.record, O_PATH)
                                    .value();
        CHECK(sys::stat_descriptor(opened.get())->real ==
              sys::stat_at(mount.get(), *Name::from(name))->real);
    }
}

TEST_CASE("uuid=off writes and follows the null UUID", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/f");
    layers.mount("uuid=off");
    REQUIRE(::chmod(layers.path("merged/f").c_str(), 0600) == 0);
    layers.unmount();
    const HandleRecord record = origin_of(layers, "upper/f").record.value();
    CHECK(record == format::handle_record(layers.open("lower/f").get(), {}, false).value());
    CHECK(matches(record, layers.uuid(), UuidRule::NullOnly));
    CHECK_FALSE(matches(record, layers.uuid(), UuidRule::Known));
    CHECK_FALSE(matches(record, layers.uuid(), UuidRule::Same));
    CHECK(matches(record, {}, UuidRule::Same));
    CHECK_FALSE(matches(record, {}, UuidRule::Known));
}

TEST_CASE("the kernel follows an origin that was written here", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/f");
    layers.make_file("upper/f", "copied up");
    const Namespace names = GENERATE(Namespace::Trusted, Namespace::User);
    const MarkFormat format{.names = names};
    const UniqueFd copy = layers.open("upper/f");
    CHECK(format::write_handle_mark(copy.get(), Mark::Origin, format,
                                    record_of(layers, "lower/f")) == true);
    const auto lower = host_stat(layers.path("lower/f"));
    layers.mount(names == Namespace::User ? "userxattr" : "");
    // st_ino is the origin's, so it was followed (overlayfs: ovl_getattr).
    CHECK(host_stat(layers.path("merged/f")).st_ino == lower.st_ino);
    CHECK(host_read(layers.path("merged/f")) == "copied up");
}

TEST_CASE("a record of an inode that is gone, or of another file system, is stale", "[format]") {
    const OverlayMount layers;
    const OverlayMount others;
    layers.make_file("lower/f");
    const HandleRecord record = record_of(layers, "lower/f");
    const UniqueFd mount = layers.open("lower");
    const UniqueFd other = others.open("lower");
    const auto open = [&](const UniqueFd& where, const format::Uuid& uuid) {
        return format::open_handle_record(where.get(), uuid, UuidRule::Known, record, O_PATH);
    };
    CHECK(open(mount, layers.uuid()));
    CHECK(open(other, others.uuid()).error() == ESTALE);
    REQUIRE(::unlink(layers.path("lower/f").c_str()) == 0);
    CHECK(open(mount, layers.uuid()).error() == ESTALE);
}

TEST_CASE("an unknown origin is written and read as such", "[format]") {
    const OverlayMount layers;
    layers.make_file("upper/f");
    const UniqueFd file = layers.open("upper/f");
    CHECK_FALSE(origin_of(layers, "upper/f").present);
    CHECK(format::write_handle_mark(file.get(), Mark::Origin, {}, std::nullopt) == true);
    const HandleMark mark = origin_of(layers, "upper/f");
    CHECK(mark.present);
    CHECK_FALSE(mark.damaged);
    CHECK_FALSE(mark.record);
}

TEST_CASE("a symlink goes without an origin where it can't have one", "[format]") {
    const OverlayMount layers;
    REQUIRE(::symlink("f", layers.path("upper/s").c_str()) == 0);
    const UniqueFd link = layers.open("upper/s");
    CHECK(format::write_handle_mark(link.get(), Mark::Origin, {.names = Namespace::User},
                                    std::nullopt) == false);
    CHECK(format::write_handle_mark(link.get(), Mark::Origin, {.names = {}}, std::nullopt) ==
          false);
    CHECK(format::write_handle_mark(link.get(), Mark::Origin, {}, std::nullopt) == true);
    CHECK(origin_of(layers, "upper/s").present);
}

}  // namespace plyfs::test
