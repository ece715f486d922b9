// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/files.h"

#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <memory>

namespace plyfs::test {

bool exists(const std::string& path) {
    struct stat found{};
    return ::lstat(path.c_str(), &found) == 0;
}

UniqueFd open_file(const std::string& path, int flags, mode_t mode) {
    return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, mode));
}

Outcome try_open(const std::string& path, int flags, mode_t mode) {
    const UniqueFd file = open_file(path, flags, mode);
    return outcome(file.get());
}

Outcome write_all(int descriptor, std::string_view data) {
    while (!data.empty()) {
        const ssize_t written = ::write(descriptor, data.data(), data.size());
        if (written < 0) return errno;
        data.remove_prefix(static_cast<std::size_t>(written));
    }
    return kOk;
}

void put(const std::string& path, std::string_view content) {
    const UniqueFd file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
    INFO(path);
    REQUIRE(outcome(file.get()) == kOk);
    REQUIRE(write_all(file.get(), content) == kOk);
}

std::string content(int descriptor) {
    std::string all;
    std::array<char, 65536> buffer{};
    ssize_t got = 0;
    while ((got = ::pread(descriptor, buffer.data(), buffer.size(),
                          static_cast<off_t>(all.size()))) > 0)
        all.append(buffer.data(), static_cast<std::size_t>(got));
    REQUIRE(outcome(got) == kOk);
    return all;
}

std::string content(const std::string& path) {
    const UniqueFd file = open_file(path, O_RDONLY);
    INFO(path);
    REQUIRE(outcome(file.get()) == kOk);
    return content(file.get());
}

struct stat status(const std::string& path) {
    struct stat found{};
    INFO(path);
    REQUIRE(outcome(::lstat(path.c_str(), &found)) == kOk);
    return found;
}

struct stat status(int descriptor) {
    struct stat found{};
    REQUIRE(outcome(::fstat(descriptor, &found)) == kOk);
    return found;
}

struct statx extended_status(const std::string& path) {
    struct statx found{};
    INFO(path);
    REQUIRE(outcome(::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW,
                            STATX_BASIC_STATS | STATX_BTIME, &found)) == kOk);
    return found;
}

mode_t mode_of(const std::string& path) {
    return status(path).st_mode & 07777;
}

std::int64_t nanoseconds(const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Outcome rename_to(const std::string& from, const std::string& to, unsigned flags) {
    return outcome(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}

Outcome set_times(const std::string& path, const timespec& access, const timespec& modification) {
    const std::array<timespec, 2> times{access, modification};
    return outcome(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW));
}

void make_directory(const std::string& path, mode_t mode) {
    INFO(path);
    REQUIRE(outcome(::mkdir(path.c_str(), mode)) == kOk);
}

std::set<std::string> names(const std::string& directory) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
    INFO(directory);
    REQUIRE(stream != nullptr);
    std::set<std::string> found;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        const bool first = found.insert(name).second;
        REQUIRE(first);
    }
    REQUIRE(errno == 0);
    return found;
}

Outcome set_xattr(const std::string& path, const char* name, std::string_view value, int flags) {
    return outcome(::lsetxattr(path.c_str(), name, value.data(), value.size(), flags));
}

std::string get_xattr(const std::string& path, const char* name) {
    std::string value(65536, '\0');
    const ssize_t size = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    INFO(path << " " << name);
    REQUIRE(outcome(size) == kOk);
    value.resize(static_cast<std::size_t>(size));
    return value;
}

Outcome try_get_xattr(const std::string& path, const char* name) {
    return outcome(::lgetxattr(path.c_str(), name, nullptr, 0));
}

std::set<std::string> xattr_names(const std::string& path) {
    std::string list(65536, '\0');
    const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
    REQUIRE(outcome(size) == kOk);
    std::set<std::string> found;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
        found.emplace(list.c_str() + at);
        at += std::string_view(list.c_str() + at).size() + 1;
    }
    return found;
}

int inode_flags(const std::string& path) {
    const UniqueFd file = open_file(path, O_RDONLY);
    int flags = 0;
    REQUIRE(outcome(::ioctl(file.get(), FS_IOC_GETFLAGS, &flags)) == kOk);
    return flags;
}

Outcome set_inode_flags(const std::string& path, int flags) {
    const UniqueFd file = open_file(path, O_RDONLY);
    return outcome(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags));
}

Outcome protect(const std::string& path, int flags) {
    return set_inode_flags(path, (inode_flags(path) & ~(FS_APPEND_FL | FS_IMMUTABLE_FL)) | flags);
}

}  // namespace plyfs::test
