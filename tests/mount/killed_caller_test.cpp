// SPDX-License-Identifier: GPL-2.0-or-later
//
// Callers that are killed while the daemon works for them leave nothing behind.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <csignal>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/resources.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// Opens, makes and removes without end. Its number of system calls before it is killed varies.
int make_requests(const std::string& directory) {
    const std::string path = directory + "/" + std::to_string(::getpid());
    for (;;) {
        const UniqueFd file = open_file(path, O_RDWR | O_CREAT);
        const UniqueFd reader = open_file(path, O_RDONLY);
        const UniqueFd nameless = open_file(directory, O_TMPFILE | O_RDWR);
        (void)::mkdir((path + "d").c_str(), 0755);
        (void)::rename(path.c_str(), (path + "r").c_str());
        (void)::unlink((path + "r").c_str());
        (void)::rmdir((path + "d").c_str());
    }
}

TEST_CASE("callers killed in the middle of requests leak nothing", "[killed]") {
    const Union united({Ext4, Ext4}, GENERATE("", "passthrough.io=off"));
    put(united.path("warm"), "up");
    make_directory(united.path("directory"));
    (void)names(united.path("directory"));
    // Two work directories, and directories that are kept open; a leak would be one each round.
    const std::size_t allowed = descriptors_of(united.mount.daemon()) + 16;
    for (int round = 0; round < 40; ++round) {
        const Process one([&] { return make_requests(united.path("directory")); });
        const Process two([&] { return make_requests(united.path("directory")); });
        // Something of theirs is seen before they are killed, later each round.
        for (int i = 0; i < round; ++i) (void)exists(united.path("missing"));
    }
    for (const std::string& name : names(united.path("directory"))) {
        const std::string path = united.path("directory/" + name);
        CHECK(outcome(S_ISDIR(status(path).st_mode) ? ::rmdir(path.c_str())
                                                    : ::unlink(path.c_str())) == kOk);
    }
    CHECK(outcome(::rmdir(united.path("directory").c_str())) == kOk);
    const UniqueFd drop = open_file("/proc/sys/vm/drop_caches", O_WRONLY);
    REQUIRE(write_all(drop.get(), "2") == kOk);
    for (int tries = 0; tries < 100'000 && descriptors_of(united.mount.daemon()) > allowed; ++tries)
        (void)status(united.path("warm"));
    CHECK(descriptors_of(united.mount.daemon()) <= allowed);
    // Other opens of the same file are not disturbed.
    put(united.path("after"), "content");
    CHECK(content(united.path("after")) == "content");
}

TEST_CASE("a caller killed while it opens a file leaves the file usable", "[killed][passthrough]") {
    const Union united{Ext4};
    const std::string path = united.path("file");
    put(path, std::string(100'000, 'x'));
    for (int round = 0; round < 60; ++round) {
        const Process opener([&] {
            for (;;) {
                const UniqueFd writer = open_file(path, O_RDWR);
                const UniqueFd reader = open_file(path, O_RDONLY);
            }
            return 0;
        });
        for (int i = 0; i < round / 4; ++i) (void)exists(united.path("missing"));
    }
    const UniqueFd writer = open_file(path, O_RDWR);
    REQUIRE(outcome(writer.get()) == kOk);
    const UniqueFd reader = open_file(path, O_RDONLY);
    REQUIRE(outcome(reader.get()) == kOk);
    REQUIRE(::pwrite(writer.get(), "y", 1, 5) == 1);
    CHECK(content(reader.get())[5] == 'y');
}

}  // namespace
}  // namespace plyfs::test
