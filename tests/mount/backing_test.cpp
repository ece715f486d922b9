// SPDX-License-Identifier: GPL-2.0-or-later
//
// What files are registered with the kernel for passthrough: one for all who have a file open,
// another one for another file, none that is left over; and what is done where none may be.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/mapping.h"
#include "mount/resources.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

constexpr std::size_t kBackedSize = 100'000;

std::string text(char byte) {
    std::string all(kBackedSize, byte);
    return all;
}

// Neither read nor written by the daemon.
void check_passed(const Mount& mount) {
    CHECK(mount.requests().count({"OPEN", "CREATE"}) > 0);
    CHECK(mount.requests().count({"READ", "WRITE"}) == 0);
}

// FUSE's connections, seen by what the daemon is asked, need a daemon in front.

TEST_CASE("hard links that are open together share a backing", "[passthrough][backing]") {
    const auto prepare = [](const std::string& lower) {
        put(lower + "/one", text('l'));
        REQUIRE(::link((lower + "/one").c_str(), (lower + "/two").c_str()) == 0);
    };
    const auto kind = GENERATE(Ext4, Tmpfs);
    const Layered layered(kind, prepare, "readers=snapshot", kLogging);
    {
        const UniqueFd one = open_file(layered.path("one"), O_RDONLY);
        const UniqueFd two = open_file(layered.path("two"), O_RDONLY);
        CHECK((content(one.get()) == text('l')));
        CHECK((content(two.get()) == text('l')));
        // The kernel refuses a node two backings (EIO).
        const UniqueFd written = open_file(layered.path("two"), O_RDWR);
        const UniqueFd other = open_file(layered.path("one"), O_RDWR);
        REQUIRE(outcome(written.get()) == kOk);
        REQUIRE(outcome(other.get()) == kOk);
        const Mapping mapping(other.get(), kBackedSize, PROT_READ | PROT_WRITE);
        REQUIRE(mapping.valid());
        REQUIRE(::pwrite(written.get(), "new", 3, 0) == 3);
        CHECK(mapping.text().starts_with("new"));
        mapping.bytes()[0] = 'N';
        CHECK(content(written.get()).starts_with("New"));
        CHECK((content(one.get()) == text('l')));
    }
    check_passed(layered.mount());
    CHECK(layered.lower_changes() == "");
}

TEST_CASE("a file is opened again after what became of it", "[passthrough][backing]") {
    const auto* const options = GENERATE("", "passthrough.io=off", "cache.entry=0,cache.attr=0",
                                         "passthrough.small-files=1M");
    CAPTURE(options);
    const Union united({Ext4}, options);
    const std::string path = united.path("file");
    put(path, text('1'));
    UniqueFd before = open_file(path, O_RDWR);
    const Mapping mapping(before.get(), kBackedSize, PROT_READ | PROT_WRITE);
    REQUIRE(mapping.valid());
    SECTION("it was forgotten") {
        before.reset();
        drop_caches();
        mapping.bytes()[7] = '2';
        CHECK(content(path)[7] == '2');
        const UniqueFd after = open_file(path, O_RDWR);
        REQUIRE(::pwrite(after.get(), "3", 1, 7) == 1);
        CHECK(mapping.bytes()[7] == '3');
    }
    SECTION("it was renamed") {
        REQUIRE(::rename(path.c_str(), united.path("renamed").c_str()) == 0);
        const UniqueFd after = open_file(united.path("renamed"), O_RDWR);
        REQUIRE(::pwrite(after.get(), "2", 1, 7) == 1);
        CHECK(mapping.bytes()[7] == '2');
        CHECK(content(before.get())[7] == '2');
    }
    SECTION("it was replaced on the branch") {
        put(united.branches.path(0, "new"), text('n'));
        REQUIRE(::rename(united.branches.path(0, "new").c_str(),
                         united.branches.path(0, "file").c_str()) == 0);
        const UniqueFd after = open_file(path, O_RDWR);
        CHECK((content(after.get()) == text('n')));
        REQUIRE(::pwrite(after.get(), "N", 1, 0) == 1);
        CHECK((content(before.get()) == text('1')));
        CHECK((mapping.text() == text('1')));
        REQUIRE(::pwrite(before.get(), "2", 1, 0) == 1);
        CHECK(mapping.bytes()[0] == '2');
        CHECK(content(path).starts_with("Nn"));
    }
    SECTION("it was written on the branch") {
        const UniqueFd behind = open_file(united.branches.path(0, "file"), O_WRONLY);
        REQUIRE(::pwrite(behind.get(), "behind", 6, 0) == 6);
        const bool seen = content(path).starts_with("behind");
        // Through the page cache of a file that is open it may be unseen.
        CHECK((seen || std::string_view(options) == "passthrough.io=off"));
    }
}

TEST_CASE("sizes and times are right at the next fstat of anybody", "[passthrough][coherence]") {
    const auto* const options = GENERATE("", "passthrough.io=off", "cache.attr=100");
    const auto kind = GENERATE(Ext4, Tmpfs);
    const Union united({kind}, options);
    CAPTURE(options, name_of(kind));
    const std::string path = united.path("file");
    const std::string real = united.branches.path(0, "file");
    put(path, text('1'));
    const UniqueFd file = open_file(path, O_RDWR);
    const UniqueFd observer = open_file(path, O_RDONLY);
    const Mapping mapping(file.get(), kBackedSize, PROT_READ | PROT_WRITE);
    REQUIRE(mapping.valid());
    const auto as_on_branch = [&] {
        return in_process([&] {
            struct stat found{};
            struct stat expected{};
            if (::fstat(observer.get(), &found) != 0) return Outcome(errno);
            if (::stat(real.c_str(), &expected) != 0) return Outcome(errno);
            if (found.st_size != expected.st_size) return Outcome(EFBIG);
            return Outcome(nanoseconds(found.st_mtim) == nanoseconds(expected.st_mtim) ? 0 : ETIME);
        });
    };
    for (int round = 0; round < 10; ++round) {
        CAPTURE(round);
        (void)status(path);
        REQUIRE(::pwrite(file.get(), "w", 1, static_cast<off_t>(kBackedSize) + round) == 1);
        CHECK(as_on_branch() == kOk);
        (void)status(path);
        mapping.bytes()[std::ptrdiff_t{4096} * round] = 'm';
        REQUIRE(::msync(mapping.bytes(), kBackedSize, MS_SYNC) == 0);
        CHECK(as_on_branch() == kOk);
        REQUIRE(::ftruncate(file.get(), static_cast<off_t>(kBackedSize)) == 0);
        CHECK(as_on_branch() == kOk);
    }
}

// PLYFS_TEST_OPENS: how many, instead of 20,000.
TEST_CASE("opens and closes leave nothing behind", "[passthrough][backing][limits]") {
    const char* const asked = std::getenv("PLYFS_TEST_OPENS");
    const long opens = asked != nullptr ? std::strtol(asked, nullptr, 0) : 20'000;
    // As it is installed: sanitizers keep what is freed.
    const bool release = exists(PLYFS_RELEASE_BINARY);
    const auto* const readers = GENERATE("readers=snapshot", "readers=follow");
    CAPTURE(readers, release);
    const Branches branches{Tmpfs, Tmpfs};
    constexpr int kFiles = 16;
    for (int i = 0; i < kFiles; ++i)
        put(branches.path(static_cast<std::size_t>(i % 2), std::to_string(i)), text('x'));
    const Mount mount(branches.spec({"RW", "RO"}), readers, Mount::Style::Background,
                      release ? PLYFS_RELEASE_BINARY : PLYFS_BINARY);
    const auto open_some = [&](long count) {
        for (long i = 0; i < count; ++i) {
            // Those of the read-only branch are read only.
            const bool writes = i % kFiles % 2 == 0 && i % 3 == 0;
            const int file = ::open(mount.path(std::to_string(i % kFiles)).c_str(),
                                    writes ? O_RDWR | O_CLOEXEC : O_RDONLY | O_CLOEXEC);
            if (file < 0) return Outcome(errno);
            ::close(file);
        }
        return kOk;
    };
    REQUIRE(open_some(2000) == kOk);
    const std::size_t descriptors = descriptors_of(mount.daemon());
    const long memory = memory_of(mount.daemon());
    allow_seconds(kTestCaseSeconds + static_cast<unsigned>(opens / 1000));
    REQUIRE(open_some(opens) == kOk);
    CHECK(eventually([&] {
        (void)exists(mount.path("0"));
        return descriptors_of(mount.daemon()) <= descriptors;
    }));
    CAPTURE(memory, memory_of(mount.daemon()));
    if (release) CHECK(memory_of(mount.daemon()) < memory + 1024);
}

TEST_CASE("who opens the last file gets EMFILE and others are served", "[passthrough][limits]") {
    const bool snapshot = GENERATE(true, false);
    const Branches branches{Ext4, Ext4};
    for (int i = 0; i < 400; ++i)
        put(branches.path(static_cast<std::size_t>(i % 2), std::to_string(i)), "content");
    const std::string mountpoint = make_scratch_directory();
    const Ran ran =
        run({"prlimit", "--nofile=300:300", PLYFS_BINARY, branches.spec({"RW", "RO"}), mountpoint,
             "-o", "minfreespace=0", "-o", snapshot ? "readers=snapshot" : "readers=follow"});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(mountpoint);
    std::vector<UniqueFd> files;
    Outcome failed;
    for (int i = 0; i < 400 && failed.ok(); ++i) {
        files.push_back(open_file(mount.path(std::to_string(i)), O_RDONLY));
        failed = outcome(files.back().get());
    }
    CHECK(failed == EMFILE);
    files.pop_back();
    REQUIRE(files.size() > 16);
    for (const UniqueFd& file : files) CHECK(content(file.get()) == "content");
    for (int i = 0; i < 400; ++i) CHECK(status(mount.path(std::to_string(i))).st_size == 7);
    CHECK(names(mount.path()).size() == 400);
    CHECK(try_open(mount.path("399"), O_RDONLY) == EMFILE);
    CHECK(outcome(::unlink(mount.path("398").c_str())) == kOk);
    CHECK(outcome(::unlink(mount.path("397").c_str())) == kOk);
    CHECK(outcome(::rename(mount.path("396").c_str(), mount.path("397").c_str())) == kOk);
    CHECK(outcome(::chmod(mount.path("395").c_str(), 0600)) == kOk);
    CHECK(outcome(::mkdir(mount.path("directory").c_str(), 0755)) == kOk);
    files.pop_back();
    CHECK(eventually([&] { return try_open(mount.path("399"), O_RDONLY).ok(); }));
    files.clear();
    CHECK(eventually([&] { return try_open(mount.path("395"), O_RDWR).ok(); }));
}

}  // namespace
}  // namespace plyfs::test
