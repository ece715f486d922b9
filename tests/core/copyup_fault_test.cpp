// SPDX-License-Identifier: GPL-2.0-or-later
//
// Copying up with every system call failing in turn.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <vector>

#include "core/copied.h"
#include "core/driven_union.h"
#include "core/host_files.h"
#include "sys/fault.h"

namespace plyfs::test {
namespace {

using copyup::CopyOptions;

// One object of each type, each with an extended attribute.
std::vector<std::string> populate(const CopyPlace& place) {
    put(place.lower("small"), 0, 100);
    put(place.lower("sparse"), 1 << 20, 100000);
    put(place.lower("large"), 0, 9 * kMebi);
    REQUIRE(::mkdir(place.lower("directory").c_str(), 0700) == 0);
    REQUIRE(::symlink("target", place.lower("symlink").c_str()) == 0);
    REQUIRE(::mknod(place.lower("fifo").c_str(), S_IFIFO | 0600, 0) == 0);
    REQUIRE(::mknod(place.lower("device").c_str(), S_IFCHR | 0600, makedev(1, 7)) == 0);
    const std::vector<std::string> names{"small",   "sparse", "large", "directory",
                                         "symlink", "fifo",   "device"};
    for (const std::string& name : names) {
        REQUIRE(::lsetxattr(place.lower(name).c_str(), "trusted.mark", "m", 1, 0) == 0);
    }
    return names;
}

int copy_with(fault::Action action, std::uint64_t nth, int error, const CopyPlace& place,
              int source, const CopyOptions& options) {
    const std::string name = "copy";
    fault::arm(action, nth, error);
    const auto copied =
        copyup::copy_object(source, place.work_descriptor(), Name::from(name).value(), options);
    const std::uint64_t calls = fault::disarm();
    if (action == fault::Action::None && copied) return static_cast<int>(calls);
    return copied ? 0 : copied.error().code();
}

}  // namespace

TEST_CASE("an error at any system call of a copy is returned and leaves nothing",
          "[copyup][fault]") {
    const FileSystemKind kind =
        GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4, FileSystemKind::Btrfs);
    const int error = GENERATE(EIO, ENOSPC);
    INFO(name_of(kind));
    const ScratchFileSystem system(kind, 128 * kMebi);
    const CopyPlace place(system.path());
    for (const std::string& name : populate(place)) {
        const UniqueFd source = place.open_lower(name);
        CopyOptions options;
        const int calls = copy_with(fault::Action::None, 0, 0, place, source.get(), options);
        REQUIRE(place.left() == 1);
        std::filesystem::remove(place.work("copy"));
        CHECK(calls >= 8);
        const std::size_t descriptors = open_descriptors();
        for (int nth = 1; nth <= calls; ++nth) {
            INFO(name << ", errno " << error << " at call " << nth << " of " << calls);
            CHECK(copy_with(fault::Action::Error, static_cast<std::uint64_t>(nth), error, place,
                            source.get(), options) == error);
            CHECK(place.left() == 0);
        }
        CHECK(open_descriptors() == descriptors);
    }
}

TEST_CASE("a call that a file system lacks ends in the same data or an error", "[copyup][fault]") {
    const FileSystemKind kind = GENERATE(FileSystemKind::Ext4, FileSystemKind::Btrfs);
    const int error = GENERATE(EOPNOTSUPP, EINVAL, EXDEV, EPERM, ENOSYS);
    INFO(name_of(kind));
    const ScratchFileSystem system(kind, 128 * kMebi);
    const CopyPlace place(system.path());
    populate(place);
    for (const std::string name : {"small", "sparse", "large"}) {
        const UniqueFd source = place.open_lower(name);
        const CopyOptions options = CopyPlace::quick();
        const int calls = copy_with(fault::Action::None, 0, 0, place, source.get(), options);
        std::filesystem::remove(place.work("copy"));
        const std::string bytes = bytes_of(place.lower(name));
        for (int nth = 1; nth <= calls; ++nth) {
            INFO(name << ", errno " << error << " at call " << nth << " of " << calls);
            const int answer = copy_with(fault::Action::Error, static_cast<std::uint64_t>(nth),
                                         error, place, source.get(), options);
            if (answer == 0) {
                CHECK(bytes_of(place.work("copy")) == bytes);
                std::filesystem::remove(place.work("copy"));
            } else {
                CHECK(answer == error);
            }
            CHECK(place.left() == 0);
        }
    }
}

TEST_CASE("of a copy that is cut short at any call the name alone is left", "[copyup][fault]") {
    const ScratchDirectory scratch;
    const CopyPlace place(scratch.path());
    for (const std::string& name : populate(place)) {
        const UniqueFd source = place.open_lower(name);
        const int calls =
            copy_with(fault::Action::None, 0, 0, place, source.get(), CopyPlace::quick());
        std::filesystem::remove(place.work("copy"));
        for (int nth = 1; nth <= calls; ++nth) {
            INFO(name << " at call " << nth << " of " << calls);
            CHECK(copy_with(fault::Action::Dead, static_cast<std::uint64_t>(nth), EIO, place,
                            source.get(), CopyPlace::quick()) == EIO);
            CHECK(place.left() <= 1);
            std::filesystem::remove(place.work("copy"));
        }
    }
}

}  // namespace plyfs::test
