// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/resources.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "mount/files.h"

namespace plyfs::test {

std::size_t descriptors_of(pid_t process) {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd"))
        ++count;
    return count;
}

long memory_of(pid_t process) {
    std::ifstream file("/proc/" + std::to_string(process) + "/status");
    std::string word;
    long kibibytes = 0;
    while (file >> word)
        if (word == "RssAnon:") file >> kibibytes;
    return kibibytes;
}

void drop_caches() {
    const UniqueFd file = open_file("/proc/sys/vm/drop_caches", O_WRONLY);
    REQUIRE(write_all(file.get(), "2") == kOk);
}

}  // namespace plyfs::test
