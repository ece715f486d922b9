// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/inode_number.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs {
namespace {

constexpr std::uint64_t kFirstLong = std::uint64_t{1} << 48;

FileSystemIdentity with_uuid(std::uint8_t first_byte, std::uint64_t fsid = 0,
                             bool has_subvolumes = false) {
    FileSystemIdentity identity;
    identity.uuid.fill(0x5a);
    identity.uuid[0] = first_byte;
    identity.uuid_length = 16;
    identity.fsid = fsid;
    identity.has_subvolumes = has_subvolumes;
    return identity;
}

FileSystemIdentity with_fsid(std::uint64_t fsid) {
    FileSystemIdentity identity;
    identity.fsid = fsid;
    return identity;
}

std::uint16_t tag_of(FileSystemTags& tags, std::uint64_t device,
                     const FileSystemIdentity& identity) {
    const auto tag = tags.tag(device, identity);
    REQUIRE(tag.has_value());
    return *tag;
}

}  // namespace

TEST_CASE("an inode number holds the tag above the branch's own number", "[inode-number]") {
    CHECK(inode_number(1, 2) == 0x0001'0000'0000'0002);
    CHECK(inode_number(kLastTag, kFirstLong - 1) == 0x7fff'ffff'ffff'ffff);
    CHECK(inode_number(0x1234, 0) == 0x1234'0000'0000'0000);
}

TEST_CASE("a long inode number is hashed and marked so", "[inode-number]") {
    const std::uint64_t long_one = inode_number(5, kFirstLong);
    CHECK(long_one >> 48 == 0x8005);
    CHECK(long_one != inode_number(5, kFirstLong + 1));
    CHECK(long_one != inode_number(6, kFirstLong));
    CHECK(inode_number(5, ~std::uint64_t{0}) >> 48 == 0x8005);
    // Numbers that were given out must be the same in every release.
    CHECK(long_one == 0x800557adffde59fe);
}

TEST_CASE("the preferred tag is made of what outlives a mount", "[inode-number]") {
    SECTION("the UUID, whatever f_fsid and st_dev are") {
        const auto tag = preferred_tag(1, with_uuid(1, 10));
        CHECK(tag == preferred_tag(2, with_uuid(1, 11)));
        CHECK(tag != preferred_tag(1, with_uuid(2, 10)));
    }
    SECTION("subvolumes of btrfs share the UUID") {
        const auto tag = preferred_tag(1, with_uuid(1, 10, true));
        CHECK(tag == preferred_tag(2, with_uuid(1, 10, true)));
        CHECK(tag != preferred_tag(1, with_uuid(1, 11, true)));
    }
    SECTION("f_fsid without a UUID") {
        CHECK(preferred_tag(1, with_fsid(7)) == preferred_tag(2, with_fsid(7)));
        CHECK(preferred_tag(1, with_fsid(7)) != preferred_tag(1, with_fsid(8)));
    }
    SECTION("st_dev without either") {
        CHECK(preferred_tag(1, {}) == preferred_tag(1, {}));
        CHECK(preferred_tag(1, {}) != preferred_tag(2, {}));
    }
    SECTION("the same in every release") {
        CHECK(preferred_tag(1, with_uuid(1, 10)) == 0x3960);
        CHECK(preferred_tag(1, with_uuid(1, 10, true)) == 0x3db7);
        CHECK(preferred_tag(1, with_fsid(7)) == 0x48bf);
    }
    SECTION("never 0, never above the last") {
        for (std::uint64_t fsid = 1; fsid < 200'000; ++fsid) {
            const auto tag = preferred_tag(1, with_fsid(fsid));
            if (tag == 0 || tag > kLastTag) FAIL(fsid);
        }
    }
}

TEST_CASE("tags don't depend on the order in which file systems are met", "[inode-number]") {
    FileSystemTags forward;
    FileSystemTags backward;
    for (std::uint8_t one = 0; one < 20; ++one) tag_of(forward, one, with_uuid(one));
    for (std::uint8_t one = 20; one-- > 0;) tag_of(backward, 100u + one, with_uuid(one));
    for (std::uint8_t one = 0; one < 20; ++one) {
        CHECK(tag_of(forward, one, with_uuid(one)) == preferred_tag(0, with_uuid(one)));
        CHECK(tag_of(forward, one, {}) == tag_of(backward, 100u + one, {}));
    }
}

TEST_CASE("two devices never share a tag", "[inode-number]") {
    FileSystemTags tags;
    const auto first = tag_of(tags, 1, with_uuid(1));
    const auto copy = tag_of(tags, 2, with_uuid(1));
    const auto second_copy = tag_of(tags, 3, with_uuid(1));
    CHECK(copy == first + 1);
    CHECK(second_copy == first + 2);
    CHECK(tag_of(tags, 2, {}) == copy);
}

TEST_CASE("all tags can be used, and no more", "[inode-number]") {
    FileSystemTags tags;
    std::set<std::uint16_t> seen;
    for (std::uint64_t device = 0; device < kLastTag; ++device) {
        seen.insert(tag_of(tags, device, with_fsid(device)));
    }
    CHECK(seen.size() == kLastTag);
    CHECK(*seen.begin() == 1);
    CHECK(*seen.rbegin() == kLastTag);
    CHECK(tags.tag(kLastTag, with_fsid(1)).error() == EOVERFLOW);
    CHECK(tag_of(tags, 0, {}) == preferred_tag(0, with_fsid(0)));  // known ones still are
}

TEST_CASE("threads that meet file systems together agree on the tags", "[inode-number]") {
    constexpr std::uint64_t kDevices = 500;
    constexpr std::size_t kThreads = 4;
    FileSystemTags tags;
    std::vector<std::vector<std::uint16_t>> seen(kThreads, std::vector<std::uint16_t>(kDevices));
    {
        std::vector<std::jthread> threads;
        threads.reserve(kThreads);
        for (std::size_t thread = 0; thread < kThreads; ++thread) {
            threads.emplace_back([&tags, &mine = seen[thread], thread] {
                for (std::uint64_t step = 0; step < kDevices * 4; ++step) {
                    const std::uint64_t device = (step * 7 + thread * 131) % kDevices;
                    const auto tag = tags.tag(device, with_fsid(device + 1));
                    if (!tag || (mine[device] != 0 && mine[device] != *tag)) std::abort();
                    mine[device] = *tag;
                }
            });
        }
    }
    for (const auto& one : seen) CHECK(one == seen.front());
    CHECK(std::set(seen[0].begin(), seen[0].end()).size() == kDevices);
}

TEST_CASE("a file system is the same through any descriptor on it", "[inode-number]") {
    const std::string directory = std::filesystem::temp_directory_path();
    const auto path_only = sys::open_host_path(directory, O_PATH | O_DIRECTORY);
    const auto readable = sys::open_host_path(directory, O_RDONLY | O_DIRECTORY);
    REQUIRE(path_only.has_value());
    REQUIRE(readable.has_value());
    const auto file = sys::open_temporary(path_only->get(), O_RDWR, 0600);
    REQUIRE(file.has_value());

    const auto identity = sys::file_system_identity(path_only->get());
    REQUIRE(identity.has_value());
    CHECK(sys::file_system_identity(readable->get()) == identity);
    CHECK(sys::file_system_identity(file->get()) == identity);

    FileSystemTags tags;
    const auto device = sys::stat_descriptor(path_only->get());
    REQUIRE(device.has_value());
    const auto tag = tags.tag(device->real.device, path_only->get());
    CHECK(tag == preferred_tag(device->real.device, *identity));
    CHECK(tags.tag(device->real.device, -1) == tag);  // known: not looked at again
}

TEST_CASE("the identity of what can't be reopened is refused", "[inode-number]") {
    const auto device = sys::open_host_path("/dev/null", O_PATH);
    REQUIRE(device.has_value());
    CHECK(sys::file_system_identity(device->get()).error() == EINVAL);
    CHECK(sys::file_system_identity(-1).error() == EBADF);
    FileSystemTags tags;
    CHECK(tags.tag(1, device->get()).error() == EINVAL);
}

}  // namespace plyfs
