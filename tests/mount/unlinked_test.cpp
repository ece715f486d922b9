// SPDX-License-Identifier: GPL-2.0-or-later
//
// Files and directories that are in use and have no name any more.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <memory>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

TEST_CASE("an open file is read and written after its name is gone", "[unlinked]") {
    const Union united(any_layout());
    const std::string path = united.path("file");
    put(path, "content");
    const UniqueFd file = open_file(path, O_RDWR);
    const UniqueFd reader = open_file(path, O_RDONLY);
    SECTION("removed") {
        REQUIRE(::unlink(path.c_str()) == 0);
    }
    SECTION("replaced") {
        put(united.path("other"), "other");
        REQUIRE(::rename(united.path("other").c_str(), path.c_str()) == 0);
    }
    SECTION("removed and made again") {
        REQUIRE(::unlink(path.c_str()) == 0);
        put(path, "again");
    }
    SECTION("removed with its directory") {
        make_directory(united.path("directory"));
        REQUIRE(::rename(path.c_str(), united.path("directory/file").c_str()) == 0);
        REQUIRE(::unlink(united.path("directory/file").c_str()) == 0);
        REQUIRE(::rmdir(united.path("directory").c_str()) == 0);
    }
    CHECK(content(reader.get()) == "content");
    CHECK(write_all(file.get(), "CONT") == kOk);
    CHECK(content(reader.get()) == "CONTent");
    CHECK(outcome(::ftruncate(file.get(), 2)) == kOk);
    CHECK(status(reader.get()).st_size == 2);
    CHECK(status(reader.get()).st_nlink == 0);
    CHECK(outcome(::fchmod(file.get(), 0600)) == kOk);
    CHECK(outcome(::fsync(file.get())) == kOk);
    CHECK(outcome(::fallocate(file.get(), 0, 0, 10'000)) == kOk);
    // Another open of it, as programs do by way of /proc.
    const UniqueFd again =
        open_file("/proc/self/fd/" + std::to_string(reader.get()), O_RDWR | O_APPEND);
    REQUIRE(outcome(again.get()) == kOk);
    CHECK(write_all(again.get(), "more") == kOk);
    CHECK(status(file.get()).st_size == 10'004);
}

TEST_CASE("a file known only by its path descriptor after its name is gone", "[unlinked]") {
    const Union united(any_layout());
    put(united.path("file"), "content");
    const UniqueFd known = open_file(united.path("file"), O_PATH);
    REQUIRE(::unlink(united.path("file").c_str()) == 0);
    CHECK(status(known.get()).st_nlink == 0);
    CHECK(status(known.get()).st_size == 7);
    const UniqueFd file = open_file("/proc/self/fd/" + std::to_string(known.get()), O_RDWR);
    REQUIRE(outcome(file.get()) == kOk);
    CHECK(content(file.get()) == "content");
}

TEST_CASE("a removed directory that is somebody's working directory", "[unlinked]") {
    const Union united(any_layout());
    const std::string path = united.path("directory");
    make_directory(path);
    const UniqueFd directory = open_file(path, O_RDONLY | O_DIRECTORY);
    REQUIRE(::rmdir(path.c_str()) == 0);
    CHECK(in_process([&] {
              if (::fchdir(directory.get()) != 0) return Outcome(errno);
              struct stat found{};
              if (::stat(".", &found) != 0) return Outcome(errno);
              if (try_open("file", O_CREAT | O_WRONLY) != ENOENT) return Outcome(EBADE);
              if (outcome(::mkdir("inner", 0755)) != ENOENT) return Outcome(EBADE);
              if (outcome(::access("file", F_OK)) != ENOENT) return Outcome(EBADE);
              return kOk;
          }) == kOk);
    CHECK(status(directory.get()).st_nlink == 0);
    SECTION("has no names") {
        const int copy = ::dup(directory.get());
        REQUIRE(copy >= 0);
        const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), ::closedir);
        REQUIRE(stream);
        errno = 0;
        int found = 0;
        while (const dirent* entry = ::readdir(stream.get()))
            if (std::string_view(entry->d_name).find_first_not_of('.') != std::string_view::npos)
                ++found;
        CHECK(found == 0);
    }
    SECTION("is not the one made in its place") {
        make_directory(path);
        put(path + "/file", "");
        CHECK(status(path).st_nlink >= 1);
        CHECK(outcome(::faccessat(directory.get(), "file", F_OK, 0)) == ENOENT);
    }
}

TEST_CASE("a directory that was moved is worked in", "[unlinked][rename]") {
    const Union united(any_layout());
    make_directory(united.path("old"));
    const UniqueFd directory = open_file(united.path("old"), O_RDONLY | O_DIRECTORY);
    REQUIRE(::rename(united.path("old").c_str(), united.path("new").c_str()) == 0);
    make_directory(united.path("old"));
    const UniqueFd file(::openat(directory.get(), "file", O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    REQUIRE(outcome(file.get()) == kOk);
    CHECK(exists(united.path("new/file")));
    CHECK(names(united.path("old")).empty());
    const Ran ran = run({"pwd", "-P"}, united.path("new"));
    CHECK(ran.output == united.path("new") + "\n");
}

}  // namespace
}  // namespace plyfs::test
