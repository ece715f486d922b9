// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/host_files.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "sys/credentials.h"

namespace plyfs::test {

bool exists(const std::string& path) {
    struct stat status{};
    return ::lstat(path.c_str(), &status) == 0;
}

std::string host_read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void host_write(const std::string& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    REQUIRE(exists(path));
}

void host_chmod(const std::string& path, mode_t mode) {
    const sys::KeepSetId keep(true);
    REQUIRE(::chmod(path.c_str(), mode) == 0);
}

struct stat host_stat(const std::string& path) {
    struct stat status{};
    INFO(path);
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    return status;
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace plyfs::test
