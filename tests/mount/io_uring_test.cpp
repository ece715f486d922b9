// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests through io_uring. That they are answered rightly is a layout of the other tests.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using enum FileSystem;

void require_io_uring() {
    require_sandbox();
    if (!offer_io_uring()) SKIP("this kernel offers no io_uring for FUSE");
}

bool in_force(const Union& united) {
    return statistics(united.mount).at("kernel").at("features").value("over-io-uring", false);
}

TEST_CASE("requests come through io_uring where that is asked for", "[io_uring]") {
    require_io_uring();
    CHECK(in_force(Union({Ext4}, "io_uring")));
    CHECK_FALSE(in_force(Union({Ext4})));
}

TEST_CASE("what a request carries arrives through io_uring", "[io_uring]") {
    require_io_uring();
    const Union united({Ext4, Ext4}, "io_uring,passthrough.io=off");
    REQUIRE(in_force(united));
    // Names and data of all sizes: the longest request is served where the kernel put it.
    const std::string longest(255, 'n');
    put(united.path(longest), "content");
    REQUIRE(::symlink(std::string(4000, 's').c_str(), united.path("link").c_str()) == 0);
    std::string target(5000, '\0');
    CHECK(::readlink(united.path("link").c_str(), target.data(), target.size()) == 4000);
    CHECK(names(united.path()) == std::set<std::string>{longest, "link"});
    CHECK(set_xattr(united.path(longest), "user.value", std::string(3000, 'v')) == kOk);
    CHECK(get_xattr(united.path(longest), "user.value") == std::string(3000, 'v'));
    for (const std::size_t size :
         {1U, 4096U, 100'000U, 131'072U, 1U << 20, (1U << 20) + 5, 5U << 20}) {
        std::string data(size, '\0');
        for (std::size_t at = 0; at < size; ++at) data[at] = static_cast<char>(at * 7 % 251);
        CAPTURE(size);
        const UniqueFd file = open_file(united.path("data"), O_RDWR | O_CREAT | O_TRUNC);
        REQUIRE(write_all(file.get(), data) == kOk);
        CHECK(content(united.path("data")) == data);
        const UniqueFd direct = open_file(united.path("data"), O_RDONLY | O_DIRECT);
        std::string read(size, '\0');
        CHECK(::pread(direct.get(), read.data(), size, 0) == static_cast<ssize_t>(size));
        CHECK(read == data);
    }
    put(united.branches.path(0, "kept"), "as it is");
    CHECK(content(united.path("kept")) == "as it is");
}

TEST_CASE("many callers are served at once through io_uring", "[io_uring]") {
    require_io_uring();
    const Union united({Ext4, Ext4}, GENERATE("io_uring", "io_uring,threads=1"));
    std::vector<std::unique_ptr<Process>> callers;
    for (int number = 0; number < 30; ++number) {
        callers.push_back(std::make_unique<Process>([&united, number] {
            const std::string path = united.path(std::to_string(number));
            for (int round = 0; round < 20; ++round) {
                const UniqueFd file = open_file(path, O_RDWR | O_CREAT | O_EXCL);
                const char written = static_cast<char>('a' + round);
                if (write_all(file.get(), {&written, 1}) != kOk) return 1;
                char read = 0;
                const UniqueFd again = open_file(path, O_RDONLY);
                if (::read(again.get(), &read, 1) != 1 || read != written) return 2;
                if (::unlink(path.c_str()) != 0) return 3;
            }
            return 0;
        }));
    }
    for (const auto& caller : callers) CHECK(caller->wait() == 0);
    CHECK(names(united.path()).empty());
}

// Of those who wait for a lock: they are answered by another thread than the one that serves them.
TEST_CASE("there is no io_uring with locks on the branches", "[io_uring][locks]") {
    require_io_uring();
    const Union united({Ext4}, "io_uring,locks=branch");
    CHECK_FALSE(in_force(united));
    put(united.path("file"), "content");
    CHECK(content(united.path("file")) == "content");
}

TEST_CASE("without io_uring in the kernel the device is used", "[io_uring]") {
    require_io_uring();
    const std::string source = "/sys/module/fuse/parameters/enable_uring";
    const Branches branches{Ext4};
    const std::string mountpoint = make_scratch_directory();
    {
        std::ofstream(source) << 'N';
        const Ran ran =
            run({PLYFS_BINARY, branches.spec(), mountpoint, "-o", "io_uring,minfreespace=0"});
        offer_io_uring();
        INFO(ran.output);
        CHECK(ran.status == 0);
        CHECK_THAT(ran.output, ContainsSubstring("does not offer io_uring"));
    }
    Mount mount = Mount::adopt(mountpoint);
    put(mount.path("file"), "content");
    CHECK(content(branches.path(0, "file")) == "content");
}

}  // namespace
}  // namespace plyfs::test
