// SPDX-License-Identifier: GPL-2.0-or-later
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

namespace plyfs::bench {

void die(const std::string& what) {
    fmt::print(stderr, "plyfs_bench: {}: {}\n", what, std::strerror(errno));
    std::exit(1);
}

UniqueFd open_file(const std::string& path, int flags, unsigned mode) {
    UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC, mode));
    if (!file) die("open " + path);
    return file;
}

void write_file(const std::string& path, std::size_t size) {
    static const std::vector<char> bytes(1 << 20, 'p');
    const UniqueFd file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
    while (size > 0) {
        const std::size_t piece = std::min(size, bytes.size());
        if (::write(file.get(), bytes.data(), piece) != static_cast<ssize_t>(piece)) {
            die("write " + path);
        }
        size -= piece;
    }
}

void make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) != 0) die("mkdir " + path);
}

void remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0) die("unlink " + path);
}

void rename_file(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) die("rename " + from);
}

void change_mode(const std::string& path, unsigned mode) {
    if (::chmod(path.c_str(), mode) != 0) die("chmod " + path);
}

void stat_file(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) die("stat " + path);
}

void stat_missing(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 || errno != ENOENT) die("not missing: " + path);
}

void list_directory(const std::string& path, std::size_t expected) {
    DIR* const stream = ::opendir(path.c_str());
    if (stream == nullptr) die("opendir " + path);
    std::size_t found = 0;
    while (::readdir(stream) != nullptr) ++found;
    ::closedir(stream);
    if (found != expected) die(fmt::format("{} names instead of {} in {}", found, expected, path));
}

void remove_tree(const std::string& path) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) die("remove " + path + ": " + error.message());
}

}  // namespace plyfs::bench
