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

void check_file(const std::string& path, std::size_t size, unsigned mode) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) die("stat " + path);
    if (status.st_size == static_cast<off_t>(size) && status.st_mode == (S_IFREG | mode)) return;
    fmt::print(stderr, "plyfs_bench: {}: size {}, mode {:o}\n", path, status.st_size,
               status.st_mode);
    std::exit(1);
}

void read_to_end(const UniqueFd& file, std::span<char> buffer, std::size_t expected) {
    std::size_t total = 0;
    for (ssize_t got = 1; got > 0; total += static_cast<std::size_t>(got)) {
        got = ::read(file.get(), buffer.data(), buffer.size());
        if (got < 0) die("read");
    }
    if (total != expected) die("read too little");
}

void stat_missing(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 || errno != ENOENT) die("not missing: " + path);
}

namespace {

// `see` gets the open directory and each name.
template <typename See>
void read_directory(const std::string& path, std::size_t expected, See&& see) {
    DIR* const stream = ::opendir(path.c_str());
    if (stream == nullptr) die("opendir " + path);
    const int directory = ::dirfd(stream);
    if (directory < 0) die("dirfd " + path);
    std::size_t found = 0;
    while (const dirent* const entry = ::readdir(stream)) {
        see(directory, entry->d_name);
        ++found;
    }
    ::closedir(stream);
    if (found != expected) die(fmt::format("{} names instead of {} in {}", found, expected, path));
}

}  // namespace

void list_directory(const std::string& path, std::size_t expected) {
    read_directory(path, expected, [](int, const char*) {});
}

void list_directory_status(const std::string& path, std::size_t expected) {
    read_directory(path, expected, [](int directory, const char* name) {
        struct stat status{};
        if (::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            die(fmt::format("stat {}", name));
        }
    });
}

void drop_caches() {
    const UniqueFd file = open_file("/proc/sys/vm/drop_caches", O_WRONLY);
    if (::write(file.get(), "3", 1) != 1) die("drop_caches");
}

void remove_tree(const std::string& path) {
    std::error_code error;
    // fuse-overlayfs's listings pass over names while others are removed.
    for (int tries = 0; tries < 5; ++tries) {
        std::filesystem::remove_all(path, error);
        if (!error) return;
    }
    die("remove " + path + ": " + error.message());
}

}  // namespace plyfs::bench
