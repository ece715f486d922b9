// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <ctime>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

constexpr timespec kEarly{1'000'000'000, 123'456'789};
constexpr timespec kLate{2'000'000'000, 987'654'321};

// As file systems take it: the tick, not the instant.
timespec coarse_now() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now;
}

TEST_CASE("mode, owner and times are changed and kept", "[attributes]") {
    const Union united(any_layout());
    const std::string path = united.path("object");
    const bool directory = GENERATE(false, true);
    directory ? make_directory(path) : put(path, "content");
    const std::int64_t changed = nanoseconds(status(path).st_ctim);

    REQUIRE(outcome(::chmod(path.c_str(), 01741)) == kOk);
    CHECK(mode_of(path) == 01741);
    REQUIRE(outcome(::chown(path.c_str(), 20'001, 30'001)) == kOk);
    CHECK(status(path).st_uid == 20'001);
    CHECK(status(path).st_gid == 30'001);
    REQUIRE(outcome(::chown(path.c_str(), static_cast<uid_t>(-1), 7)) == kOk);
    CHECK(status(path).st_uid == 20'001);
    CHECK(status(path).st_gid == 7);
    REQUIRE(set_times(path, kEarly, kLate) == kOk);
    CHECK(nanoseconds(status(path).st_atim) == nanoseconds(kEarly));
    CHECK(nanoseconds(status(path).st_mtim) == nanoseconds(kLate));
    CHECK(nanoseconds(status(path).st_ctim) >= changed);

    const std::size_t branch = [&] {
        std::size_t i = 0;
        while (!exists(united.branches.path(i, "object"))) ++i;
        return i;
    }();
    const struct stat real = status(united.branches.path(branch, "object"));
    CHECK((real.st_mode & 07777) == 01741);
    CHECK(real.st_uid == 20'001);
    CHECK(nanoseconds(real.st_mtim) == nanoseconds(kLate));
}

TEST_CASE("times that are omitted stay, and now is now", "[attributes]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "");
    REQUIRE(set_times(path, kEarly, kEarly) == kOk);
    SECTION("access time omitted") {
        REQUIRE(set_times(path, {0, UTIME_OMIT}, kLate) == kOk);
        CHECK(nanoseconds(status(path).st_atim) == nanoseconds(kEarly));
        CHECK(nanoseconds(status(path).st_mtim) == nanoseconds(kLate));
    }
    SECTION("modification time omitted") {
        REQUIRE(set_times(path, kLate, {0, UTIME_OMIT}) == kOk);
        CHECK(nanoseconds(status(path).st_atim) == nanoseconds(kLate));
        CHECK(nanoseconds(status(path).st_mtim) == nanoseconds(kEarly));
    }
    SECTION("both omitted") {
        REQUIRE(set_times(path, {0, UTIME_OMIT}, {0, UTIME_OMIT}) == kOk);
        CHECK(nanoseconds(status(path).st_mtim) == nanoseconds(kEarly));
    }
    SECTION("now") {
        const auto before = nanoseconds(coarse_now());
        REQUIRE(set_times(path, {0, UTIME_NOW}, {0, UTIME_NOW}) == kOk);
        CHECK(nanoseconds(status(path).st_atim) >= before);
        CHECK(nanoseconds(status(path).st_mtim) >= before);
        timespec later{};
        ::clock_gettime(CLOCK_REALTIME, &later);
        CHECK(nanoseconds(status(path).st_mtim) <= nanoseconds(later));
    }
    SECTION("before 1970") {
        REQUIRE(set_times(path, {-5, 500}, {-1, 999'999'999}) == kOk);
        CHECK(nanoseconds(status(path).st_atim) == -4'999'999'500);
        CHECK(nanoseconds(status(path).st_mtim) == -1);
    }
}

TEST_CASE("attributes of a symlink are its own", "[attributes]") {
    const Union united(any_layout());
    put(united.path("target"), "");
    const std::string link = united.path("link");
    REQUIRE(::symlink("target", link.c_str()) == 0);
    REQUIRE(outcome(::lchown(link.c_str(), 20'001, 30'001)) == kOk);
    CHECK(status(link).st_uid == 20'001);
    CHECK(status(united.path("target")).st_uid == 0);
    REQUIRE(set_times(link, kEarly, kLate) == kOk);
    CHECK(nanoseconds(status(link).st_mtim) == nanoseconds(kLate));
    CHECK(nanoseconds(status(united.path("target")).st_mtim) != nanoseconds(kLate));
}

TEST_CASE("files have the times of what is done to them", "[attributes]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "content");
    SECTION("write changes the modification time") {
        REQUIRE(set_times(path, kEarly, kEarly) == kOk);
        const auto before = nanoseconds(coarse_now());
        const UniqueFd file = open_file(path, O_WRONLY);
        REQUIRE(write_all(file.get(), "x") == kOk);
        CHECK(nanoseconds(status(file.get()).st_mtim) >= before);
        CHECK(nanoseconds(status(path).st_ctim) >= before);
    }
    SECTION("truncate changes the modification time") {
        REQUIRE(set_times(path, kEarly, kEarly) == kOk);
        const auto before = nanoseconds(coarse_now());
        REQUIRE(::truncate(path.c_str(), 3) == 0);
        CHECK(nanoseconds(status(path).st_mtim) >= before);
    }
    SECTION("chmod changes only the change time") {
        REQUIRE(set_times(path, kEarly, kEarly) == kOk);
        const auto before = nanoseconds(coarse_now());
        REQUIRE(::chmod(path.c_str(), 0600) == 0);
        CHECK(nanoseconds(status(path).st_mtim) == nanoseconds(kEarly));
        CHECK(nanoseconds(status(path).st_ctim) >= before);
    }
    SECTION("read changes the access time") {
        const timespec ago{coarse_now().tv_sec - 200'000, 0};
        REQUIRE(set_times(path, ago, coarse_now()) == kOk);
        CHECK(content(path) == "content");
        CHECK(nanoseconds(status(path).st_atim) > nanoseconds(ago));
    }
    SECTION("a new name changes the directory's modification time") {
        make_directory(united.path("directory"));
        REQUIRE(set_times(united.path("directory"), kEarly, kEarly) == kOk);
        const auto before = nanoseconds(coarse_now());
        REQUIRE(::rename(path.c_str(), united.path("directory/file").c_str()) == 0);
        CHECK(nanoseconds(status(united.path("directory")).st_mtim) >= before);
    }
}

TEST_CASE("statx says when a file was born", "[attributes]") {
    const Union united(any_layout());
    const auto before = nanoseconds(coarse_now());
    put(united.path("file"), "");
    const struct statx born = extended_status(united.path("file"));
    REQUIRE((born.stx_mask & STATX_BTIME) != 0);
    const std::int64_t time =
        std::int64_t{born.stx_btime.tv_sec} * 1'000'000'000 + born.stx_btime.tv_nsec;
    CHECK(time >= before);
    REQUIRE(::chmod(united.path("file").c_str(), 0600) == 0);
    const struct statx later = extended_status(united.path("file"));
    CHECK(later.stx_btime.tv_sec == born.stx_btime.tv_sec);
    CHECK(later.stx_btime.tv_nsec == born.stx_btime.tv_nsec);
}

TEST_CASE("files are truncated and extended", "[attributes][data]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "0123456789");
    REQUIRE(outcome(::truncate(path.c_str(), 4)) == kOk);
    CHECK(content(path) == "0123");
    REQUIRE(outcome(::truncate(path.c_str(), 6)) == kOk);
    CHECK(content(path) == std::string("0123\0\0", 6));
    {
        const UniqueFd file = open_file(path, O_RDWR);
        REQUIRE(outcome(::ftruncate(file.get(), 1)) == kOk);
        CHECK(content(file.get()) == "0");
        CHECK(status(path).st_size == 1);
        const UniqueFd reader = open_file(path, O_RDONLY);
        CHECK(outcome(::ftruncate(reader.get(), 0)) == EINVAL);
    }
    make_directory(united.path("directory"));
    CHECK(outcome(::truncate(united.path("directory").c_str(), 0)) == EISDIR);
    CHECK(outcome(::truncate(path.c_str(), -1)) == EINVAL);
    CHECK(outcome(::truncate(united.path("missing").c_str(), 0)) == ENOENT);
}

TEST_CASE("inode numbers are the same after a remount", "[attributes][inodes]") {
    const Branches branches{Ext4, Xfs, Btrfs, Tmpfs};
    std::set<ino_t> before;
    std::set<ino_t> after;
    for (std::size_t i = 0; i < branches.size(); ++i) {
        put(branches.path(i, "file" + std::to_string(i)), "");
        make_directory(branches.path(i, "both"));
    }
    const auto numbers = [&](const Mount& mount) {
        std::set<ino_t> found;
        for (const std::string& name : names(mount.path()))
            found.insert(status(mount.path(name)).st_ino);
        return found;
    };
    {
        const Mount mount(branches.spec());
        before = numbers(mount);
    }
    CHECK(before.size() == 5);
    const Mount mount(branches[2] + ":" + branches[0] + ":" + branches[3] + ":" + branches[1]);
    CHECK(numbers(mount) == before);
}

TEST_CASE("a held file keeps its attributes after its name is gone", "[attributes]") {
    const Union united(any_layout());
    put(united.path("file"), "content");
    const UniqueFd file = open_file(united.path("file"), O_RDWR);
    const ino_t inode = status(file.get()).st_ino;
    REQUIRE(::unlink(united.path("file").c_str()) == 0);
    CHECK(status(file.get()).st_ino == inode);
    CHECK(status(file.get()).st_nlink == 0);
    CHECK(outcome(::fchmod(file.get(), 0600)) == kOk);
    CHECK((status(file.get()).st_mode & 07777) == 0600);
    CHECK(outcome(::fchown(file.get(), 20'001, 30'001)) == kOk);
    CHECK(status(file.get()).st_uid == 20'001);
    CHECK(outcome(::ftruncate(file.get(), 3)) == kOk);
    CHECK(status(file.get()).st_size == 3);
    const std::array<timespec, 2> times{kEarly, kLate};
    CHECK(outcome(::futimens(file.get(), times.data())) == kOk);
    CHECK(nanoseconds(status(file.get()).st_mtim) == nanoseconds(kLate));
}

}  // namespace
}  // namespace plyfs::test
