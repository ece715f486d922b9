// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/branch_space.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <latch>
#include <optional>
#include <thread>
#include <vector>

#include "sys/open.h"

namespace plyfs {
namespace {

using namespace std::chrono_literals;
using Time = BranchSpace::Clock::time_point;

constexpr Time kStart{1000s};

std::atomic<std::uint64_t> reads;
std::atomic<int> next_error;

// Says how often it was asked, or fails.
Result<FileSystemSpace> counting_reader(int) {
    if (const int error = next_error.exchange(0)) return fail(error);
    FileSystemSpace space;
    space.blocks = ++reads;
    return space;
}

std::uint64_t blocks_at(BranchSpace& branch, Time now) {
    const auto space = branch.get(now);
    REQUIRE(space.has_value());
    return space->blocks;
}

FileSystemSpace space_of(std::uint64_t unit, std::uint64_t blocks, std::uint64_t free_blocks,
                         std::uint64_t available_blocks) {
    FileSystemSpace space;
    space.block_size = unit;
    space.unit = unit;
    space.blocks = blocks;
    space.free_blocks = free_blocks;
    space.available_blocks = available_blocks;
    space.files = 100;
    space.free_files = 60;
    space.available_files = 50;
    space.name_max = 255;
    return space;
}

}  // namespace

TEST_CASE("a reading is kept until it is old", "[branch-space]") {
    reads = 0;
    BranchSpace branch(-1, 1s, &counting_reader);
    CHECK(blocks_at(branch, kStart) == 1);
    CHECK(blocks_at(branch, kStart + 999ms) == 1);
    CHECK(blocks_at(branch, kStart - 1ms) == 1);  // a thread that looked at the clock earlier
    CHECK(blocks_at(branch, kStart + 1s) == 2);
    CHECK(blocks_at(branch, kStart + 1999ms) == 2);
    CHECK(blocks_at(branch, kStart + 1h) == 3);
}

TEST_CASE("age 0 keeps nothing", "[branch-space]") {
    reads = 0;
    BranchSpace branch(-1, 0s, &counting_reader);
    CHECK(blocks_at(branch, kStart) == 1);
    CHECK(blocks_at(branch, kStart) == 2);
}

TEST_CASE("an expired reading is not given out again", "[branch-space]") {
    reads = 0;
    BranchSpace branch(-1, 1s, &counting_reader);
    CHECK(blocks_at(branch, kStart) == 1);
    branch.expire(kStart + 1ms);
    CHECK(blocks_at(branch, kStart + 2ms) == 2);
    CHECK(blocks_at(branch, kStart + 3ms) == 2);
}

TEST_CASE("a failed reading is an error once and leaves nothing behind", "[branch-space]") {
    reads = 0;
    BranchSpace branch(-1, 1s, &counting_reader);
    next_error = EIO;
    CHECK(branch.get(kStart).error() == EIO);
    CHECK(blocks_at(branch, kStart) == 1);
    next_error = ESTALE;
    CHECK(branch.get(kStart + 2s).error() == ESTALE);
    CHECK(blocks_at(branch, kStart + 2s) == 2);
}

TEST_CASE("nobody waits for a file system that doesn't answer", "[branch-space]") {
    static std::optional<std::latch> asked;
    static std::optional<std::latch> answer;
    static std::atomic<bool> hang;
    reads = 0;
    hang = false;
    BranchSpace branch(
        -1, 1s, +[](int descriptor) {
            if (hang.exchange(false)) {
                asked->count_down();
                answer->wait();
            }
            return counting_reader(descriptor);
        });
    CHECK(blocks_at(branch, kStart) == 1);

    asked.emplace(1);
    answer.emplace(1);
    hang = true;
    std::jthread renewing([&] { (void)branch.get(kStart + 2s); });
    asked->wait();
    CHECK(blocks_at(branch, kStart + 2s) == 1);   // the old reading will do
    CHECK(blocks_at(branch, kStart + 60s) == 2);  // too old: asks itself
    answer->count_down();
    renewing.join();
    CHECK(blocks_at(branch, kStart + 2s) == 3);
}

TEST_CASE("threads never see half a reading", "[branch-space]") {
    static std::atomic<std::uint64_t> number;
    BranchSpace branch(
        -1, 1ns, +[](int) -> Result<FileSystemSpace> {
            const std::uint64_t all = ++number;
            FileSystemSpace space;
            space.block_size = space.blocks = space.available_blocks = space.name_max = all;
            return space;
        });
    std::atomic<std::int64_t> tick{0};
    std::atomic<int> torn{0};
    {
        std::vector<std::jthread> threads;
        threads.reserve(4);
        for (int thread = 0; thread < 4; ++thread) {
            threads.emplace_back([&] {
                for (int round = 0; round < 20'000; ++round) {
                    // The clock moves now and then, so that readings are both kept and renewed.
                    const auto now = kStart + std::chrono::nanoseconds(tick += round % 3 == 0);
                    const auto space = branch.get(now);
                    if (!space || space->blocks == 0 || space->block_size != space->blocks ||
                        space->available_blocks != space->blocks ||
                        space->name_max != space->blocks) {
                        ++torn;
                    }
                }
            });
        }
    }
    CHECK(torn == 0);
}

TEST_CASE("the space of a real directory", "[branch-space]") {
    const auto root =
        sys::open_host_path(std::filesystem::temp_directory_path(), O_PATH | O_DIRECTORY);
    REQUIRE(root.has_value());
    BranchSpace branch(root->get());
    const auto space = branch.get();
    REQUIRE(space.has_value());
    CHECK(space->unit > 0);
    CHECK(space->blocks >= space->free_blocks);
    CHECK(space->free_blocks >= space->available_blocks);
    CHECK(space->available() == space->available_blocks * space->unit);
    CHECK(space->name_max > 0);
    CHECK(sys::file_system_space(-1).error() == EBADF);
}

TEST_CASE("available bytes don't wrap", "[branch-space]") {
    CHECK(space_of(4096, 0, 0, UINT64_MAX / 2).available() == UINT64_MAX);
    CHECK(space_of(4096, 0, 0, 3).available() == 12288);
}

TEST_CASE("the union's space is the sum over distinct pools", "[branch-space]") {
    const auto unit_4k = space_of(4096, 1000, 500, 400);
    const auto unit_1k = space_of(1024, 1000, 300, 200);

    SECTION("no branch") {
        CHECK(union_space({}) == FileSystemSpace{});
    }
    SECTION("one branch is shown as it is") {
        CHECK(union_space(std::vector<SpaceShare>{{1, unit_4k, true}}) == unit_4k);
    }
    SECTION("branches of one file system count once") {
        const std::vector<SpaceShare> shares{
            {1, unit_4k, true}, {2, unit_4k, true}, {1, unit_4k, true}};
        CHECK(union_space(shares).blocks == 2000);
        CHECK(union_space(shares).files == 200);
    }
    SECTION("different units are scaled to the one that divides them") {
        const auto sum =
            union_space(std::vector<SpaceShare>{{1, unit_4k, true}, {2, unit_1k, true}});
        CHECK(sum.unit == 1024);
        CHECK(sum.block_size == 1024);
        CHECK(sum.blocks == 5000);
        CHECK(sum.free_blocks == 2300);
        CHECK(sum.available_blocks == 1800);
        CHECK(sum.available() == unit_4k.available() + unit_1k.available());
    }
    SECTION("a unit that is no power of two loses nothing") {
        const auto sum = union_space(std::vector<SpaceShare>{{1, space_of(6, 1, 1, 1), true},
                                                             {2, space_of(4, 1, 1, 1), true}});
        CHECK(sum.unit * sum.blocks == 10);
    }
    SECTION("the smallest name length that is said") {
        auto silent = unit_4k;
        silent.name_max = 0;
        auto brief = unit_4k;
        brief.name_max = 143;
        CHECK(union_space(
                  std::vector<SpaceShare>{{1, silent, true}, {2, unit_4k, true}, {3, brief, true}})
                  .name_max == 143);
    }
    SECTION("what can't be written is not available") {
        auto read_only = unit_4k;
        read_only.read_only = true;
        for (const SpaceShare& closed :
             {SpaceShare{2, unit_4k, false}, SpaceShare{2, read_only, true}}) {
            const auto sum = union_space(std::vector<SpaceShare>{{1, unit_4k, true}, closed});
            CHECK(sum.blocks == 2000);
            CHECK(sum.free_blocks == 1000);
            CHECK(sum.available_blocks == 400);
            CHECK(sum.available_files == 50);
            CHECK_FALSE(sum.read_only);
            CHECK(union_space(std::vector<SpaceShare>{closed}).read_only);
        }
        // The read-only clone of a file system that is written through another branch.
        const auto both =
            union_space(std::vector<SpaceShare>{{1, read_only, false}, {1, unit_4k, true}});
        CHECK(both == unit_4k);
    }
    SECTION("a file system that says nothing adds nothing") {
        const auto sum = union_space(std::vector<SpaceShare>{{1, {}, true}, {2, unit_4k, true}});
        CHECK(sum == unit_4k);
    }
    SECTION("sums don't wrap") {
        const auto vast = space_of(4096, UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX - 1);
        const auto sum = union_space(std::vector<SpaceShare>{{1, vast, true}, {2, unit_1k, true}});
        CHECK(sum.blocks == UINT64_MAX);
        CHECK(sum.available() == UINT64_MAX);
    }
}

TEST_CASE("subvolumes of btrfs draw on one pool", "[branch-space]") {
    FileSystemIdentity identity;
    identity.uuid.fill(9);
    identity.uuid_length = 16;
    CHECK(space_pool(1, identity) == 1);
    identity.has_subvolumes = true;
    CHECK(space_pool(1, identity) == space_pool(2, identity));
    identity.uuid_length = 0;
    CHECK(space_pool(1, identity) == 1);
}

}  // namespace plyfs
