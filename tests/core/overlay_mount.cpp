// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/overlay_mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <filesystem>

#include "core/host_files.h"
#include "sys/file_system_identity.h"

namespace plyfs::test {

namespace {
constexpr std::uint64_t kBytes = std::uint64_t{16} << 20;
}

OverlayMount::OverlayMount(FileSystemKind kind) : file_system_(kind, kBytes) {
    for (const char* const name : {"lower", "upper", "work", "merged"}) make_directory(name);
}

OverlayMount::~OverlayMount() {
    if (mounted_) ::umount2(path("merged").c_str(), MNT_DETACH);
}

int OverlayMount::try_mount(const std::string& options) {
    std::string all =
        "lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work");
    if (!options.empty()) all += ',' + options;
    if (::mount("overlay", path("merged").c_str(), "overlay", 0, all.c_str()) != 0) return errno;
    mounted_ = true;
    return 0;
}

void OverlayMount::mount(const std::string& options) {
    const int error = try_mount(options);
    if (error == ENODEV) SKIP("no overlayfs");
    REQUIRE(error == 0);
}

void OverlayMount::mount_layers(const std::string& layers, const std::string& options) {
    std::string all = "lowerdir=";
    for (std::size_t at = 0; at <= layers.size();) {
        const std::size_t end = std::min(layers.find(':', at), layers.size());
        if (at > 0) all += ':';
        all += path(layers.substr(at, end - at));
        at = end + 1;
    }
    if (!options.empty()) all += ',' + options;
    REQUIRE(::mount("overlay", path("merged").c_str(), "overlay", 0, all.c_str()) == 0);
    mounted_ = true;
}

void OverlayMount::unmount() {
    REQUIRE(::umount2(path("merged").c_str(), 0) == 0);
    mounted_ = false;
}

std::string OverlayMount::path(std::string_view relative) const {
    return (file_system_.path() + '/').append(relative);
}

UniqueFd OverlayMount::open(std::string_view relative) const {
    UniqueFd object(::open(path(relative).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    INFO(relative);
    REQUIRE(object);
    return object;
}

void OverlayMount::make_directory(std::string_view relative) const {
    INFO(relative);
    REQUIRE(::mkdir(path(relative).c_str(), 0755) == 0);
}

void OverlayMount::make_file(std::string_view relative, std::string_view bytes) const {
    host_write(path(relative), bytes);
}

std::vector<std::string> OverlayMount::names(std::string_view relative) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path(relative)))
        found.push_back(entry.path().filename());
    std::ranges::sort(found);
    return found;
}

format::Uuid OverlayMount::uuid() const {
    const UniqueFd root = open(".");
    return sys::file_system_identity(root.get()).value().uuid;
}

format::HandleRecord record_of(const OverlayMount& layers, const std::string& object, bool upper) {
    return format::handle_record(layers.open(object).get(), layers.uuid(), upper).value();
}

}  // namespace plyfs::test
