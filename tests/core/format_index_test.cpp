// SPDX-License-Identifier: GPL-2.0-or-later
//
// The index: entries of the kernel's are found under the names made here, and the other way round.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "core/host_files.h"
#include "core/overlay_mount.h"
#include "format/index_name.h"
#include "format/link_count.h"
#include "format/overlay_work.h"
#include "format/temporary_name.h"
#include "format/whiteout.h"
#include "sys/statx.h"

namespace plyfs::test {
namespace {

using format::HandleRecord;
using format::LinkCount;
using format::Mark;

std::string entry_of(const OverlayMount& layers, const std::string& lower) {
    return "work/index/" + format::index_name(record_of(layers, lower)).value();
}

std::uint32_t links(const OverlayMount& layers, const std::string& path) {
    return static_cast<std::uint32_t>(host_stat(layers.path(path)).st_nlink);
}

// What the mark of the index entry says, given the two inodes.
std::optional<std::uint32_t> marked_links(const OverlayMount& layers, const std::string& lower) {
    const std::string entry = entry_of(layers, lower);
    const auto count = format::read_link_count(layers.open(entry).get(), {}).value();
    REQUIRE(count);
    return format::shown_links(*count, links(layers, entry), links(layers, lower));
}

void link(const OverlayMount& layers, const std::string& from, const std::string& to) {
    REQUIRE(::link(layers.path(from).c_str(), layers.path(to).c_str()) == 0);
}

}  // namespace

TEST_CASE("hard links that the kernel copied up are found in the index", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/a");
    link(layers, "lower/a", "lower/b");
    link(layers, "lower/a", "lower/c");
    layers.mount("index=on");
    host_write(layers.path("merged/a"), "new");
    const std::string entry = entry_of(layers, "lower/a");
    CHECK(entry_of(layers, "lower/b") == entry);
    CHECK(host_stat(layers.path(entry)).st_ino == host_stat(layers.path("upper/a")).st_ino);
    CHECK(links(layers, "merged/b") == 3);
    CHECK(marked_links(layers, "lower/a") == 3U);
    // One of them goes, one is copied up, one is new.
    REQUIRE(::unlink(layers.path("merged/c").c_str()) == 0);
    host_write(layers.path("merged/b"), "newer");
    link(layers, "merged/b", "merged/d");
    CHECK(links(layers, "merged/d") == 3);
    layers.unmount();
    CHECK(host_read(layers.path("upper/a")) == "newer");
    layers.mount("index=on");
    CHECK(links(layers, "merged/a") == 3);
    CHECK(marked_links(layers, "lower/a") == 3U);
}

TEST_CASE("the kernel finds a copy in the index that was written here", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/a", "old");
    link(layers, "lower/a", "lower/b");
    const format::OverlayWork work =
        format::open_overlay_work(layers.open("work").get(), true).value();
    const std::string entry = entry_of(layers, "lower/a");
    layers.make_file(entry, "copied up");
    const UniqueFd copy = layers.open(entry);
    REQUIRE(format::write_handle_mark(copy.get(), Mark::Origin, {}, record_of(layers, "lower/a")) ==
            true);
    link(layers, entry, "upper/a");
    const auto count = format::link_count(LinkCount::Base::Upper, 2, links(layers, entry));
    REQUIRE(format::write_link_count(copy.get(), {}, count));
    const UniqueFd index = layers.open("work/index");
    REQUIRE(format::write_handle_mark(index.get(), Mark::Upper, {},
                                      record_of(layers, "upper", true)) == true);
    REQUIRE(format::write_handle_mark(layers.open("upper").get(), Mark::Origin, {},
                                      record_of(layers, "lower")) == true);

    layers.mount("index=on");
    CHECK(host_read(layers.path("merged/b")) == "copied up");  // never copied up under this name
    CHECK(links(layers, "merged/a") == 2);
    CHECK(host_stat(layers.path("merged/a")).st_ino == host_stat(layers.path("merged/b")).st_ino);
    host_write(layers.path("merged/b"), "both");
    CHECK(host_read(layers.path("merged/a")) == "both");
}

TEST_CASE("the kernel's index belongs to one upper and one lower root", "[format][overlayfs]") {
    OverlayMount layers;
    layers.mount("index=on");
    layers.unmount();
    const auto of_index =
        format::read_handle_mark(layers.open("work/index").get(), Mark::Upper, {});
    CHECK(of_index->record == record_of(layers, "upper", true));
    const auto of_root = format::read_handle_mark(layers.open("upper").get(), Mark::Origin, {});
    CHECK(of_root->record == record_of(layers, "lower"));
}

TEST_CASE("what the kernel can export is in the index", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/d");
    layers.make_file("lower/f");
    layers.mount("nfs_export=on,index=on");
    REQUIRE(::chmod(layers.path("merged/d").c_str(), 0700) == 0);
    const std::string entry = entry_of(layers, "lower/d");
    CHECK(S_ISDIR(host_stat(layers.path(entry)).st_mode));
    const auto upper = format::read_handle_mark(layers.open(entry).get(), Mark::Upper, {}).value();
    REQUIRE(upper.record);
    CHECK(*upper.record == record_of(layers, "upper/d", true));
    const UniqueFd mount = layers.open("upper");
    const UniqueFd found =
        format::open_handle_record(mount.get(), layers.uuid(), format::UuidRule::Known,
                                   *upper.record, O_PATH)
            .value();
    CHECK(sys::stat_descriptor(found.get())->real ==
          sys::stat_at(mount.get(), *Name::from("d"))->real);

    REQUIRE(::unlink(layers.path("merged/f").c_str()) == 0);
    const UniqueFd whiteout = layers.open(entry_of(layers, "lower/f"));
    CHECK(format::is_device_whiteout(sys::stat_descriptor(whiteout.get()).value()));
    layers.unmount();
    for (const std::string& name : layers.names("work/index")) {
        INFO(name);
        CHECK((format::is_temporary_name(name) || format::parse_index_name(name)));
    }
}

}  // namespace plyfs::test
