// SPDX-License-Identifier: GPL-2.0-or-later
//
// Files that the kernel opens by itself, where it can (docs/kernel-open.md): what has been read is
// opened again without OPEN and RELEASE. On a stock kernel every open asks; all else is the same.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/mapping.h"
#include "mount/mounted.h"
#include "mount/resources.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

constexpr std::size_t kOpenedSize = 100'000;
constexpr int kOpens = 50;

std::string full_of(char byte) {
    std::string all(kOpenedSize, byte);
    return all;
}

bool kernel_opens(const Mount& mount) {
    return statistics(mount).at("kernel").at("features").value("passthrough-attach", false);
}

std::uint64_t attached(const Mount& mount) {
    return statistics(mount).at("backings").at("attached").get<std::uint64_t>();
}

// How many OPENs it takes to open and read a file `kOpens` times.
std::uint64_t asked_for(const Mount& mount, const std::string& name, char expected) {
    const auto before = mount.requests().count({"OPEN"});
    for (int i = 0; i < kOpens; ++i) REQUIRE((content(mount.path(name)) == full_of(expected)));
    return mount.requests().count({"OPEN"}) - before;
}

}  // namespace

TEST_CASE("what was read is opened by the kernel, if it can", "[passthrough][attach]") {
    const auto kind = GENERATE(Ext4, Tmpfs);
    const Union united({kind}, "", kLogging);
    const bool by_kernel = kernel_opens(united.mount);
    const std::string path = united.path("file");
    put(united.branches.path(0, "file"), full_of('1'));
    CHECK(asked_for(united.mount, "file", '1') == (by_kernel ? 1 : kOpens));
    CHECK(attached(united.mount) == (by_kernel ? 1 : 0));
    const UniqueFd reader = open_file(path, O_RDONLY);
    const auto reads = [&](char byte) {
        return content(reader.get()) == full_of(byte) && content(path) == full_of(byte);
    };

    SECTION("and written by those who ask") {
        put(path, full_of('2'));
        CHECK(reads('2'));
        const UniqueFd writer = open_file(path, O_RDWR);
        const Mapping mapping(writer.get(), kOpenedSize, PROT_READ | PROT_WRITE);
        REQUIRE(mapping.valid());
        mapping.bytes()[0] = '3';
        CHECK(content(reader.get())[0] == '3');
        REQUIRE(::ftruncate(writer.get(), 1) == 0);
        CHECK(content(path) == "3");
        CHECK(status(reader.get()).st_size == 1);
    }
    SECTION("and has a handle where one is needed") {
        CHECK(outcome(::flock(reader.get(), LOCK_EX)) == kOk);
        const UniqueFd target = open_file(united.path("copy"), O_RDWR | O_CREAT);
        CHECK(::copy_file_range(reader.get(), nullptr, target.get(), nullptr, kOpenedSize, 0) ==
              kOpenedSize);
        CHECK((content(target.get()) == full_of('1')));
        CHECK(reads('1'));
    }
    SECTION("and keeps its content when it is removed") {
        REQUIRE(::unlink(path.c_str()) == 0);
        CHECK((content(reader.get()) == full_of('1')));
        CHECK(status(reader.get()).st_nlink == 0);
        put(path, full_of('2'));
        CHECK((content(path) == full_of('2')));
        CHECK((content(reader.get()) == full_of('1')));
    }
    SECTION("and found anew when the branch has another") {
        put(united.branches.path(0, "new"), full_of('2'));
        REQUIRE(::rename(united.branches.path(0, "new").c_str(),
                         united.branches.path(0, "file").c_str()) == 0);
        CHECK(eventually([&] { return content(path) == full_of('2'); }));
        CHECK((content(reader.get()) == full_of('1')));
    }
    SECTION("and as often as the kernel forgets it") {
        drop_caches();
        CHECK(reads('1'));
        CHECK(asked_for(united.mount, "file", '1') <= (by_kernel ? 1 : kOpens));
    }
    CHECK(united.mount.requests().count({"READ", "WRITE"}) == 0);
}

TEST_CASE("the kernel opens by itself for a while only", "[passthrough][attach]") {
    const Union united({Ext4}, "passthrough.attach=1");
    put(united.branches.path(0, "file"), full_of('1'));
    REQUIRE((content(united.path("file")) == full_of('1')));
    CHECK((attached(united.mount) == 1) == kernel_opens(united.mount));
    // A file that was removed on the branch does not take its space for longer.
    CHECK(eventually([&] { return attached(united.mount) == 0; }));
    CHECK(
        eventually([&] { return statistics(united.mount).at("backings").at("registered") == 0; }));
    CHECK((content(united.path("file")) == full_of('1')));
}

TEST_CASE("the kernel opens nothing by itself where it is told so", "[passthrough][attach]") {
    const auto* const options = GENERATE("passthrough.attach=0", "locks=branch");
    const Union united({Ext4}, options, kLogging);
    put(united.branches.path(0, "file"), full_of('1'));
    CHECK(asked_for(united.mount, "file", '1') == kOpens);
    CHECK(attached(united.mount) == 0);
}

TEST_CASE("what the kernel opened by itself follows its copy", "[passthrough][attach][copy_up]") {
    const auto prepare = [](const std::string& lower) { put(lower + "/file", full_of('l')); };
    const auto* const readers = GENERATE("readers=follow", "readers=snapshot");
    CAPTURE(readers);
    const Layered layered(Ext4, prepare, readers, kLogging);
    const bool follow = std::string_view(readers) == "readers=follow";
    const bool by_kernel = follow && kernel_opens(layered.mount());
    const std::string path = layered.path("file");
    CHECK(asked_for(layered.mount(), "file", 'l') == (by_kernel ? 1 : kOpens));
    const UniqueFd reader = open_file(path, O_RDONLY);

    SECTION("when that is written") {
        put(path, full_of('2'));
    }
    SECTION("when that is truncated by path") {
        REQUIRE(::truncate(path.c_str(), 0) == 0);
        put(path, full_of('2'));
    }
    SECTION("when only its mode was changed before") {
        REQUIRE(::chmod(path.c_str(), 0600) == 0);
        CHECK((content(reader.get()) == full_of('l')));
        put(path, full_of('2'));
    }
    CHECK((content(reader.get()) == full_of(follow ? '2' : 'l')));
    CHECK(asked_for(layered.mount(), "file", '2') <= (by_kernel ? 1 : kOpens));
    CHECK(layered.lower_changes() == "");
}

}  // namespace plyfs::test
