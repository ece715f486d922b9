// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is in files: reading, writing, holes, copies.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstdlib>
#include <memory>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

constexpr off_t kMebiOffset = off_t{1} << 20;

using enum FileSystem;

// Bytes that differ from place to place.
std::string pattern(std::size_t size, unsigned seed = 1) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) {
        seed = seed * 1'103'515'245 + 12'345;
        byte = static_cast<char>(seed >> 16);
    }
    return bytes;
}

TEST_CASE("what is written is read", "[data]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    const std::string bytes = pattern(3 * kMebiOffset + 17);
    put(path, bytes);
    CHECK((content(path) == bytes));
    const UniqueFd file = open_file(path, O_RDWR);
    REQUIRE(::pwrite(file.get(), "in between", 10, kMebiOffset) == 10);
    std::string expected = bytes;
    expected.replace(kMebiOffset, 10, "in between");
    CHECK((content(path) == expected));
    CHECK(::pread(file.get(), expected.data(), 10, 4 * kMebiOffset) == 0);
}

TEST_CASE("appending writes at the end, whoever else does", "[data]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    const UniqueFd one = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
    const UniqueFd two = open_file(path, O_RDWR | O_APPEND);
    CHECK(write_all(one.get(), "1") == kOk);
    CHECK(write_all(two.get(), "2") == kOk);
    CHECK(write_all(one.get(), "3") == kOk);
    CHECK(content(path) == "123");
    constexpr int kLines = 200;
    const auto append = [&](char letter) {
        return [&, letter] {
            const UniqueFd file = open_file(path, O_WRONLY | O_APPEND);
            for (int i = 0; i < kLines; ++i)
                if (!write_all(file.get(), std::string(9, letter) + "\n").ok()) return 1;
            return 0;
        };
    };
    Process first(append('a'));
    Process second(append('b'));
    CHECK(first.wait() == 0);
    CHECK(second.wait() == 0);
    CHECK(status(path).st_size == 3 + 2 * kLines * 10);
}

TEST_CASE("vectors, offsets and flags of single calls", "[data]") {
    const Union united(any_layout());
    const UniqueFd file = open_file(united.path("file"), O_RDWR | O_CREAT);
    std::string a = "first ";
    std::string b = "second";
    const std::array<iovec, 2> parts{iovec{a.data(), a.size()}, iovec{b.data(), b.size()}};
    CHECK(::pwritev2(file.get(), parts.data(), 2, 0, RWF_DSYNC) == 12);
    CHECK(::pwritev2(file.get(), parts.data(), 1, 0, RWF_APPEND) == 6);
    CHECK(content(file.get()) == "first secondfirst ");
    std::string c(4, '\0');
    const iovec into{c.data(), c.size()};
    CHECK(::preadv2(file.get(), &into, 1, 6, 0) == 4);
    CHECK(c == "seco");
    CHECK(outcome(::lseek(file.get(), -1, SEEK_SET)) == EINVAL);
    CHECK(::lseek(file.get(), -2, SEEK_END) == 16);
}

TEST_CASE("synchronizing calls succeed", "[data]") {
    const Union united(any_layout());
    const UniqueFd file = open_file(united.path("file"), O_RDWR | O_CREAT);
    REQUIRE(write_all(file.get(), "content") == kOk);
    CHECK(outcome(::fsync(file.get())) == kOk);
    CHECK(outcome(::fdatasync(file.get())) == kOk);
    CHECK(outcome(::syncfs(file.get())) == kOk);
    CHECK(outcome(::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE)) == kOk);
    CHECK(outcome(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED)) == kOk);
    const UniqueFd directory = open_file(united.path(), O_RDONLY | O_DIRECTORY);
    CHECK(outcome(::fsync(directory.get())) == kOk);
    CHECK(outcome(::fdatasync(directory.get())) == kOk);
}

TEST_CASE("O_DIRECT reads and writes", "[data]") {
    const Layout layout = any_layout();
    const Union united(layout);
    const std::string path = united.path("file");
    const UniqueFd file = open_file(path, O_RDWR | O_CREAT | O_DIRECT);
    // A branch's file system may refuse it; tmpfs does on older kernels.
    if (!file && errno == EINVAL) SKIP("no O_DIRECT on this branch");
    REQUIRE(outcome(file.get()) == kOk);
    constexpr std::size_t kSize = 65'536;
    const std::unique_ptr<void, void (*)(void*)> buffer(std::aligned_alloc(4096, kSize), std::free);
    const std::string bytes = pattern(kSize);
    bytes.copy(static_cast<char*>(buffer.get()), kSize);
    REQUIRE(::pwrite(file.get(), buffer.get(), kSize, 0) == ssize_t{kSize});
    CHECK((content(path) == bytes));
    put(path, pattern(kSize, 7));
    REQUIRE(::pread(file.get(), buffer.get(), kSize, 0) == ssize_t{kSize});
    CHECK((std::string_view(static_cast<char*>(buffer.get()), kSize) == pattern(kSize, 7)));
}

TEST_CASE("every mode of fallocate answers as on the branch", "[data][fallocate]") {
    const Layout layout = any_layout();
    const Union united(layout);
    const int mode = GENERATE(0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                              FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
                              FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_PUNCH_HOLE, 0x4000);
    CAPTURE(mode);
    const std::string path = united.path("file");
    put(path, pattern(kMebiOffset));
    std::size_t branch = 0;
    while (!exists(united.branches.path(branch, "file"))) ++branch;
    const std::string plain = united.branches.path(branch, "plain");
    put(plain, pattern(kMebiOffset));

    // FUSE itself refuses all but these modes.
    constexpr int kServed = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    const UniqueFd file = open_file(path, O_RDWR);
    const UniqueFd expected = open_file(plain, O_RDWR);
    const Outcome got = outcome(::fallocate(file.get(), mode, 65'536, 131'072));
    if ((mode & ~kServed) != 0) {
        CHECK(got == EOPNOTSUPP);
    } else {
        CHECK(got == outcome(::fallocate(expected.get(), mode, 65'536, 131'072)));
        CHECK((content(path) == content(plain)));
        CHECK(status(file.get()).st_size == status(expected.get()).st_size);
    }
    const Outcome beyond = outcome(::fallocate(file.get(), mode, kMebiOffset - 1, 65'536));
    if ((mode & ~kServed) == 0) {
        CHECK(beyond == outcome(::fallocate(expected.get(), mode, kMebiOffset - 1, 65'536)));
        CHECK(status(path).st_size == status(plain).st_size);
        CHECK(status(file.get()).st_blocks == status(expected.get()).st_blocks);
    }
    const UniqueFd reader = open_file(path, O_RDONLY);
    CHECK(outcome(::fallocate(reader.get(), 0, 0, 1)) == EBADF);
}

TEST_CASE("holes stay holes and are found", "[data][lseek]") {
    const Union united(any_layout());
    const UniqueFd file = open_file(united.path("file"), O_RDWR | O_CREAT);
    REQUIRE(::pwrite(file.get(), "x", 1, 0) == 1);
    REQUIRE(::pwrite(file.get(), "x", 1, 8 * kMebiOffset) == 1);
    REQUIRE(::ftruncate(file.get(), 16 * kMebiOffset) == 0);
    CHECK(status(file.get()).st_blocks < 1024);
    CHECK(::lseek(file.get(), 0, SEEK_DATA) == 0);
    const off_t hole = ::lseek(file.get(), 0, SEEK_HOLE);
    CHECK(hole > 0);
    CHECK(hole <= kMebiOffset);
    const off_t data = ::lseek(file.get(), hole, SEEK_DATA);
    CHECK(data > kMebiOffset);
    CHECK(data <= 8 * kMebiOffset);
    CHECK(outcome(::lseek(file.get(), 16 * kMebiOffset, SEEK_DATA)) == ENXIO);
    CHECK(outcome(::lseek(file.get(), 12 * kMebiOffset, SEEK_DATA)) == ENXIO);
    CHECK(::lseek(file.get(), 12 * kMebiOffset, SEEK_HOLE) == 12 * kMebiOffset);
}

TEST_CASE("copy_file_range copies within and between files", "[data][copy_file_range][splice]") {
    const Union united(any_layout());
    const std::string bytes = pattern(2 * kMebiOffset);
    put(united.path("from"), bytes);
    const UniqueFd from = open_file(united.path("from"), O_RDWR);
    const UniqueFd to = open_file(united.path("to"), O_RDWR | O_CREAT);
    loff_t in = 0;
    loff_t out = 0;
    while (out < 2 * kMebiOffset) {
        const ssize_t copied =
            ::copy_file_range(from.get(), &in, to.get(), &out, 3 * kMebiOffset, 0);
        REQUIRE(outcome(copied) == kOk);
        REQUIRE(copied > 0);
    }
    CHECK((content(united.path("to")) == bytes));
    CHECK(::copy_file_range(from.get(), &in, to.get(), &out, 10, 0) == 0);

    in = 0;
    out = 3 * kMebiOffset;
    CHECK(::copy_file_range(from.get(), &in, from.get(), &out, 4096, 0) == 4096);
    CHECK(status(from.get()).st_size == 3 * kMebiOffset + 4096);
    in = 0;
    out = 100;
    CHECK(outcome(::copy_file_range(from.get(), &in, from.get(), &out, 4096, 0)) == EINVAL);
    const UniqueFd reader = open_file(united.path("to"), O_RDONLY);
    CHECK(outcome(::copy_file_range(from.get(), nullptr, reader.get(), nullptr, 1, 0)) == EBADF);
}

TEST_CASE("data is copied between branches of different file systems",
          "[data][copy_file_range][splice]") {
    const Union united{Ext4, Xfs, Btrfs, Tmpfs};
    const std::string bytes = pattern(kMebiOffset);
    for (std::size_t i = 0; i < 4; ++i) {
        put(united.branches.path(i, "from" + std::to_string(i)), bytes);
        put(united.branches.path(i, "to" + std::to_string(i)), "");
    }
    for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t j = (i + 1) % 4;
        const UniqueFd from = open_file(united.path("from" + std::to_string(i)), O_RDONLY);
        const UniqueFd to = open_file(united.path("to" + std::to_string(j)), O_RDWR);
        off_t done = 0;
        while (done < kMebiOffset) {
            const ssize_t copied =
                ::copy_file_range(from.get(), nullptr, to.get(), nullptr, kMebiOffset, 0);
            REQUIRE(outcome(copied) == kOk);
            REQUIRE(copied > 0);
            done += copied;
        }
        CHECK((content(to.get()) == bytes));
    }
}

TEST_CASE("sendfile and splice move data", "[data][splice]") {
    const Union united(any_layout());
    const std::string bytes = pattern(kMebiOffset);
    put(united.path("from"), bytes);
    const UniqueFd from = open_file(united.path("from"), O_RDONLY);
    const UniqueFd to = open_file(united.path("to"), O_RDWR | O_CREAT);
    off_t offset = 0;
    while (offset < kMebiOffset)
        REQUIRE(::sendfile(to.get(), from.get(), &offset, kMebiOffset) > 0);
    CHECK((content(united.path("to")) == bytes));

    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    loff_t in = 4096;
    loff_t out = 0;
    REQUIRE(::splice(from.get(), &in, writer.get(), nullptr, 8192, 0) == 8192);
    REQUIRE(::splice(reader.get(), nullptr, to.get(), &out, 8192, 0) == 8192);
    CHECK((content(united.path("to")).substr(0, 8192) == bytes.substr(4096, 8192)));
}

TEST_CASE("a private mapping changes nothing", "[data][mmap]") {
    const Union united(any_layout());
    put(united.path("file"), std::string(8192, 'x'));
    const UniqueFd file = open_file(united.path("file"), O_RDONLY);
    char* const bytes = static_cast<char*>(
        ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0));
    REQUIRE(bytes != MAP_FAILED);
    bytes[5000] = 'y';
    CHECK(bytes[5000] == 'y');
    CHECK(content(united.path("file")) == std::string(8192, 'x'));
    ::munmap(bytes, 8192);
}

TEST_CASE("programs run from the union", "[data][exec]") {
    const Union united(any_layout());
    REQUIRE(run({"cp", "/usr/bin/true", united.path("program")}).status == 0);
    CHECK(run({united.path("program")}).status == 0);
    put(united.path("script"), "#!/bin/sh\necho ran\n");
    REQUIRE(::chmod(united.path("script").c_str(), 0755) == 0);
    CHECK(run({united.path("script")}).output == "ran\n");
    // A running program is not written to.
    REQUIRE(run({"cp", "/usr/bin/sleep", united.path("sleep")}).status == 0);
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    UniqueFd ready(ends[0]);
    UniqueFd started(ends[1]);
    Process sleeper([&] {
        // Closed by a successful exec.
        ::execl(united.path("sleep").c_str(), "sleep", "1000", nullptr);
        return 127;
    });
    started.reset();
    char byte = 0;
    REQUIRE(::read(ready.get(), &byte, 1) == 0);
    CHECK(sleeper.running());
    CHECK(try_open(united.path("sleep"), O_WRONLY) == ETXTBSY);
    CHECK(content(united.path("sleep")).size() > 1000);
}

TEST_CASE("a full branch says so and takes what fits after", "[data][space]") {
    require_sandbox();
    const LoopFileSystem small(Tmpfs, 8 << 20);
    const Mount mount(small.path());
    const UniqueFd file = open_file(mount.path("file"), O_RDWR | O_CREAT);
    const std::string bytes(kMebiOffset, 'x');
    Outcome full;
    for (int i = 0; i < 20 && full.ok(); ++i) full = write_all(file.get(), bytes);
    CHECK(full == ENOSPC);
    REQUIRE(::ftruncate(file.get(), 0) == 0);
    REQUIRE(::lseek(file.get(), 0, SEEK_SET) == 0);
    CHECK(write_all(file.get(), bytes) == kOk);
}

TEST_CASE("creation goes to the next branch when one is full", "[data][space]") {
    require_sandbox();
    const LoopFileSystem small(Tmpfs, 8 << 20, "nr_inodes=4");
    const LoopFileSystem large(Tmpfs, 8 << 20);
    const Mount mount(small.path() + ":" + large.path(), "category.create=ff");
    for (int i = 0; i < 20; ++i) put(mount.path("file" + std::to_string(i)), "content");
    CHECK(names(mount.path()).size() == 20);
    CHECK_FALSE(names(small.path()).empty());
    CHECK(names(large.path()).size() >= 16);
    for (int i = 0; i < 20; ++i) make_directory(mount.path("directory" + std::to_string(i)));
    CHECK(names(mount.path()).size() == 40);
}

}  // namespace
}  // namespace plyfs::test
