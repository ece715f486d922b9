// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bytes of files copied up: shared where that is possible, holes kept, ended in the middle, of
// sources that change meanwhile.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <memory>

#include "core/copied.h"
#include "core/driven_union.h"
#include "core/host_files.h"
#include "sys/data.h"

namespace plyfs::test {
namespace {

using copyup::CopyOptions;
using copyup::DataOrigin;

constexpr off_t kMega = off_t{1} << 20;

// A lower and a work directory on one file system, or on two of the kind.
struct Systems {
    Systems(FileSystemKind kind, bool two, std::uint64_t bytes)
        : first(kind, bytes),
          second(two ? std::make_unique<ScratchFileSystem>(kind, bytes) : nullptr),
          place(first.path(), two ? second->path() : first.path()) {}

    ScratchFileSystem first;
    std::unique_ptr<ScratchFileSystem> second;
    CopyPlace place;
};

void resize(const std::string& path, off_t size) {
    REQUIRE(::truncate(path.c_str(), size) == 0);
}

// How many extents there are, and how many of them are shared.
std::pair<unsigned, unsigned> extents(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    constexpr unsigned kMost = 64;
    alignas(fiemap) std::array<char, sizeof(fiemap) + kMost * sizeof(fiemap_extent)> room{};
    auto* const map = reinterpret_cast<fiemap*>(room.data());
    map->fm_length = FIEMAP_MAX_OFFSET;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = kMost;
    REQUIRE(::ioctl(file.get(), FS_IOC_FIEMAP, map) == 0);
    unsigned shared = 0;
    for (unsigned i = 0; i < map->fm_mapped_extents; ++i) {
        if ((map->fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED) != 0) ++shared;
    }
    return {map->fm_mapped_extents, shared};
}

void check_same_data(const CopyPlace& place, const std::string& name, const std::string& copy) {
    ::sync();  // what is not allocated yet has no blocks to compare
    CHECK(data_map(place.work(copy)) == data_map(place.lower(name)));
    CHECK(bytes_of(place.work(copy)) == bytes_of(place.lower(name)));
    const auto blocks = [](const std::string& path) { return host_stat(path).st_blocks; };
    // How they are laid out may take a block of pointers more.
    CHECK(blocks(place.work(copy)) <= blocks(place.lower(name)) + 64);
}

}  // namespace

TEST_CASE("holes stay holes", "[copyup]") {
    const FileSystemKind kind = GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4,
                                         FileSystemKind::Xfs, FileSystemKind::Btrfs);
    const bool two = GENERATE(false, true);
    INFO(name_of(kind) << (two ? ", to another file system" : ""));
    const Systems systems(kind, two, 64 * kMebi);
    const CopyPlace& place = systems.place;
    const std::string path = place.lower("file");
    SECTION("at the start") {
        put(path, 3 * kMega, 65536 + 100);
    }
    SECTION("in the middle") {
        put(path, 0, 65536);
        put(path, 2 * kMega, 131072);
        put(path, 4 * kMega, 5);
    }
    SECTION("at the end") {
        put(path, 0, 65536);
        resize(path, 5 * kMega + 17);
    }
    SECTION("everywhere") {
        put(path, kMega, 65536);
        put(path, 9 * kMega, 65536);
        resize(path, 11 * kMega);
    }
    SECTION("and nothing else") {
        put(path, 0, 1);
        resize(path, 0);
        resize(path, 3 * kMega);
    }
    SECTION("in a small file") {
        put(path, 16384, 4096);
        resize(path, 40000);
    }
    SECTION("and data stays data") {
        put(path, 0, 3 * kMebi + 11);
    }
    SECTION("and a few bytes too") {
        put(path, 0, 11);
    }
    ::sync();
    auto copied = place.copy("file");
    REQUIRE(code(copied) == 0);
    copied->descriptor.reset();
    check_same_data(place, "file", "copy");
    std::uint64_t data = 0;
    for (const auto& [begin, end] : data_map(path)) data += static_cast<std::uint64_t>(end - begin);
    if (copied->data.origin == DataOrigin::Copied) CHECK(copied->data.bytes == data);
}

TEST_CASE("file systems that can share blocks do", "[copyup]") {
    const FileSystemKind kind = GENERATE(FileSystemKind::Xfs, FileSystemKind::Btrfs);
    INFO(name_of(kind));
    const Systems systems(kind, false, 64 * kMebi);
    const CopyPlace& place = systems.place;
    put(place.lower("file"), 0, 4 * kMebi + 5);
    put(place.lower("small"), 0, 16384);
    const auto copied = place.copy("file");
    REQUIRE(code(copied) == 0);
    CHECK(copied->data.origin == DataOrigin::Cloned);
    CHECK(copied->data.bytes == 4 * kMebi + 5);
    check_same_data(place, "file", "copy");
    const auto [all, shared] = extents(place.work("copy"));
    CHECK(all > 0);
    CHECK(shared == all);
    // By copy_file_range(2), which shares too.
    REQUIRE(code(place.copy("small", "small")) == 0);
    CHECK(extents(place.work("small")).second == 1);
    // What is written to the copy then does not reach the source.
    const std::string before = bytes_of(place.lower("file"));
    put(place.work("copy"), 17, 4096);
    CHECK(bytes_of(place.lower("file")) == before);
}

TEST_CASE("a large hole costs nothing", "[copyup]") {
    const Systems systems(FileSystemKind::Ext4, GENERATE(false, true), 64 * kMebi);
    const CopyPlace& place = systems.place;
    put(place.lower("file"), 2048 * kMega, kMebi);
    resize(place.lower("file"), 4096 * kMega);
    const auto start = std::chrono::steady_clock::now();
    const auto copied = place.copy("file");
    const auto took = std::chrono::steady_clock::now() - start;
    REQUIRE(code(copied) == 0);
    CHECK(copied->data.bytes == kMebi);
    CHECK(copied->attributes.size == 4096 * kMebi);
    CHECK(data_map(place.work("copy")) == data_map(place.lower("file")));
    // Reading the hole would take a second or more.
    CHECK(took < std::chrono::milliseconds(500));
}

TEST_CASE("a copy tells how far it is and ends when it is cancelled", "[copyup]") {
    const Systems systems(FileSystemKind::Ext4, GENERATE(false, true), 64 * kMebi);
    const CopyPlace& place = systems.place;
    put(place.lower("file"), 0, 24 * kMebi + 1);
    CopyOptions options = CopyPlace::quick();
    std::uint64_t told = 0;
    bool rising = true;
    options.observer.advanced = [&](std::uint64_t bytes) {
        rising = rising && bytes > told && bytes - told <= 8 * kMebi;
        told = bytes;
    };
    SECTION("to the end") {
        REQUIRE(code(place.copy("file", "copy", options)) == 0);
        CHECK(told == 24 * kMebi + 1);
    }
    SECTION("before it begins") {
        options.observer.cancelled = [] { return true; };
        CHECK(code(place.copy("file", "copy", options)) == EINTR);
        CHECK(told == 0);
        CHECK(place.left() == 0);
    }
    SECTION("in the middle") {
        options.observer.cancelled = [&] { return told > 0; };
        CHECK(code(place.copy("file", "copy", options)) == EINTR);
        CHECK(told > 0);
        CHECK(told <= 8 * kMebi);
        CHECK(place.left() == 0);
    }
    CHECK(rising);
}

TEST_CASE("without room for a file nothing of it is left", "[copyup]") {
    const FileSystemKind kind = GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4);
    INFO(name_of(kind));
    const ScratchFileSystem lower(FileSystemKind::Ext4, 64 * kMebi);
    const ScratchFileSystem upper(kind, 32 * kMebi);
    const CopyPlace place(lower.path(), upper.path());
    upper.fill(4 * kMebi);
    std::uint64_t told = 0;
    CopyOptions options = CopyPlace::quick();
    options.observer.advanced = [&](std::uint64_t bytes) { told = bytes; };
    SECTION("found on the way") {
        put(place.lower("file"), 0, 7 * kMebi);
        CHECK(code(place.copy("file", "copy", options)) == ENOSPC);
        CHECK(told > 0);
    }
    SECTION("found before") {
        put(place.lower("file"), 0, 20 * kMebi);
        CHECK(code(place.copy("file", "copy", options)) == ENOSPC);
        CHECK(told == 0);
    }
    CHECK(place.left() == 0);
    put(place.lower("less"), 0, 2 * kMebi);
    CHECK(code(place.copy("less")) == 0);
}

TEST_CASE("a source that changes while it is copied ends the copy where it ends", "[copyup]") {
    const Systems systems(FileSystemKind::Ext4, GENERATE(false, true), 128 * kMebi);
    const CopyPlace& place = systems.place;
    const std::string path = place.lower("file");
    CopyOptions options = CopyPlace::quick();
    bool changed = false;
    off_t now = 0;
    options.observer.advanced = [&](std::uint64_t) {
        if (!changed) resize(path, now);
        changed = true;
    };
    off_t expected = 0;
    SECTION("shrinking in its data") {
        put(path, 0, 24 * kMebi);
        expected = now = 12 * kMega + 1000;
    }
    SECTION("shrinking to less than is copied already") {
        put(path, 0, 24 * kMebi);
        now = 1000;
    }
    SECTION("shrinking in its hole") {
        put(path, 0, kMebi);
        resize(path, 24 * kMega);
        expected = now = 3 * kMega;
    }
    SECTION("growing") {
        put(path, 0, 24 * kMebi);
        now = 48 * kMega;
        expected = 24 * kMega;
    }
    const auto copied = place.copy("file", "copy", options);
    REQUIRE(code(copied) == 0);
    CHECK(changed);
    if (expected != 0) CHECK(static_cast<off_t>(copied->attributes.size) == expected);
    CHECK(copied->attributes.size <= 24 * kMebi);
    const std::string source = bytes_of(path);
    const std::string copy = bytes_of(place.work("copy"));
    const std::size_t common = std::min(source.size(), copy.size());
    CHECK(source.compare(0, common, copy, 0, common) == 0);
}

TEST_CASE("data is copied into a file that has its size already", "[copyup]") {
    const Systems systems(FileSystemKind::Xfs, GENERATE(false, true), 64 * kMebi);
    const CopyPlace& place = systems.place;
    put(place.lower("file"), kMega, kMebi + 5);
    CopyOptions options = CopyPlace::quick();
    options.size_without_data = 2 * kMebi + 5;
    const auto made = place.copy("file", "copy", options);
    REQUIRE(code(made) == 0);
    const UniqueFd source(::open(place.lower("file").c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
    const auto copied =
        copyup::copy_data(source.get(), made->source, made->descriptor.get(), options.observer);
    REQUIRE(code(copied) == 0);
    check_same_data(place, "file", "copy");
}

}  // namespace plyfs::test
