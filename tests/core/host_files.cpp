// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/host_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "sys/credentials.h"
#include "sys/metadata.h"
#include "sys/unique_fd.h"

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

namespace {

std::string contents_of(int descriptor) {
    std::string bytes;
    std::array<char, 4096> buffer{};
    for (ssize_t got = 1; got > 0;) {
        got = ::read(descriptor, buffer.data(), buffer.size());
        if (got > 0) bytes.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return bytes;
}

std::string time_of(const timespec& time) {
    return std::to_string(time.tv_sec) + '.' + std::to_string(time.tv_nsec) + ' ';
}

void add_state(const std::string& path, std::map<std::string, std::string>& states) {
    const struct stat status = host_stat(path);
    std::string text;
    for (const std::uint64_t number :
         {std::uint64_t{status.st_mode}, std::uint64_t{status.st_uid}, std::uint64_t{status.st_gid},
          std::uint64_t{status.st_ino}, std::uint64_t{status.st_nlink},
          std::uint64_t{status.st_rdev}, static_cast<std::uint64_t>(status.st_size)}) {
        text += std::to_string(number) + ' ';
    }
    text += time_of(status.st_atim) + time_of(status.st_mtim) + time_of(status.st_ctim);
    const UniqueFd object(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    for (const std::string& name :
         sys::xattr_names(object.get()).value_or(std::vector<std::string>())) {
        const auto value = sys::xattr_value(object.get(), name.c_str());
        text += name + '=';
        if (value) text.append(reinterpret_cast<const char*>(value->data()), value->size());
        text += ' ';
    }
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
        UniqueFd opened(::open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
        REQUIRE(opened);
        if (S_ISREG(status.st_mode)) {
            text += contents_of(opened.get());
        } else {
            DIR* const stream = ::fdopendir(opened.release());
            while (const dirent* entry = ::readdir(stream)) {
                const std::string name = entry->d_name;
                if (name != "." && name != "..") add_state(path + '/' + name, states);
            }
            ::closedir(stream);
        }
    }
    states[path] = text;
}

}  // namespace

std::string tree_state(const std::string& path) {
    std::map<std::string, std::string> states;
    add_state(path, states);
    std::string text;
    for (const auto& [name, state] : states) text += name + ": " + state + '\n';
    return text;
}

}  // namespace plyfs::test
