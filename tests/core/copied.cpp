// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/copied.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <filesystem>
#include <random>

#include "sys/mount_clone.h"
#include "sys/open.h"

namespace plyfs::test {
namespace {

template <typename... Integer>
std::string packed(Integer... values) {
    std::string bytes;
    (bytes.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
    return bytes;
}

std::string entry(std::uint16_t tag, std::uint16_t permissions, std::uint32_t id) {
    return packed(tag, permissions, id);
}

}  // namespace

const char* name_of(FileSystemKind kind) {
    switch (kind) {
        case FileSystemKind::Tmpfs: return "tmpfs";
        case FileSystemKind::Ext4: return "ext4";
        case FileSystemKind::Xfs: return "xfs";
        case FileSystemKind::Btrfs: return "btrfs";
    }
    return "";
}

CopyPlace::CopyPlace(const std::string& lower_top, const std::string& work_top)
    : lower_(lower_top + "/lower"), work_(work_top + "/work") {
    if (::geteuid() != 0) SKIP("needs root");
    REQUIRE(::mkdir(lower_.c_str(), 0755) == 0);
    REQUIRE(::mkdir(work_.c_str(), 0700) == 0);
    work_descriptor_ = sys::open_host_path(work_, O_PATH | O_DIRECTORY).value();
}

UniqueFd CopyPlace::open_lower(const std::string& name) const {
    const UniqueFd lower = sys::open_host_path(lower_, O_PATH | O_DIRECTORY).value();
    const auto clone = sys::clone_mount(lower.get(), {.read_only = true});
    if (!clone) SKIP("no right to clone a mount");
    return sys::open_at(clone->get(), Name::from(name).value(), O_PATH).value();
}

Result<copyup::CopiedObject> CopyPlace::copy(const std::string& name, const std::string& as,
                                             const copyup::CopyOptions& options) const {
    const UniqueFd source = open_lower(name);
    return copyup::copy_object(source.get(), work_descriptor(), Name::from(as).value(), options);
}

std::size_t CopyPlace::left() const {
    const std::filesystem::directory_iterator all(work_);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

copyup::CopyOptions CopyPlace::quick() {
    copyup::CopyOptions options;
    options.durable = false;
    return options;
}

DataMap data_map(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
    REQUIRE(file);
    DataMap map;
    off_t hole = 0;
    for (;;) {
        const off_t data = ::lseek(file.get(), hole, SEEK_DATA);
        if (data < 0) return map;
        hole = ::lseek(file.get(), data, SEEK_HOLE);
        map.emplace_back(data, hole);
    }
}

std::map<std::string, std::string> xattrs_of(const std::string& path) {
    std::map<std::string, std::string> found;
    std::string names(65536, '\0');
    const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
    REQUIRE(size >= 0);
    for (const char* name = names.data(); name < names.data() + size; name += strlen(name) + 1) {
        std::string value(65536, '\0');
        const ssize_t length = ::lgetxattr(path.c_str(), name, value.data(), value.size());
        REQUIRE(length >= 0);
        found[name] = value.substr(0, static_cast<std::size_t>(length));
    }
    return found;
}

void put(const std::string& path, off_t offset, std::size_t bytes) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    REQUIRE(file);
    std::minstd_rand random(static_cast<unsigned>(offset) + 1);
    std::string text(bytes, '\0');
    for (std::size_t at = 0; at < bytes; at += 64) {
        const auto number = random();
        text.replace(at, std::min(sizeof number, bytes - at),
                     reinterpret_cast<const char*>(&number), std::min(sizeof number, bytes - at));
    }
    REQUIRE(::pwrite(file.get(), text.data(), bytes, offset) == static_cast<ssize_t>(bytes));
}

std::string bytes_of(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
    REQUIRE(file);
    std::string bytes(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
    REQUIRE(::pread(file.get(), bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
    return bytes;
}

std::string acl_bytes() {
    constexpr std::uint32_t kNone = 0xFFFFFFFF;
    // linux/posix_acl_xattr.h: version 2, then entries of tag, permissions and id.
    return packed(std::uint32_t{2}) + entry(0x01, 7, kNone) + entry(0x02, 5, 4242) +
           entry(0x04, 5, kNone) + entry(0x10, 7, kNone) + entry(0x20, 0, kNone);
}

std::string capability_bytes() {
    // linux/capability.h: revision 2 with the effective bit, then permitted and inheritable, twice.
    return packed(std::uint32_t{0x02000001}, std::uint32_t{1} << 13, std::uint32_t{0},
                  std::uint32_t{0}, std::uint32_t{0});
}

}  // namespace plyfs::test
