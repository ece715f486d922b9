// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/scratch_file_system.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "sys/unique_fd.h"

namespace plyfs::test {
namespace {

// Once for the process, before its first mount; threads made later inherit it.
bool enter_own_namespace() {
    static const bool entered = ::unshare(CLONE_NEWNS) == 0 &&
                                ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    return entered;
}

// A loop device that is gone with the mount that is made of it. Others take devices meanwhile,
// hence the tries.
std::string attach(int image, UniqueFd& device) {
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control) SKIP("no loop devices");
    loop_config config{};
    config.fd = static_cast<__u32>(image);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    for (int attempt = 0; attempt < 100; ++attempt) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        std::string path = "/dev/loop" + std::to_string(number);
        device.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (device && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return path;
    }
    SKIP("no loop device was to be had");
    return {};
}

struct ImageKind {
    const char* name;
    const char* format;
    std::uint64_t smallest;  // bytes
};

ImageKind image_kind(FileSystemKind kind) {
    switch (kind) {
        case FileSystemKind::Xfs: return {"xfs", "mkfs.xfs -q -K -m reflink=1 ", 320 * kMebi};
        case FileSystemKind::Btrfs: return {"btrfs", "mkfs.btrfs -q -K ", 128 * kMebi};
        default: return {"ext4", "mkfs.ext4 -q -m 0 -N 4096 -E nodiscard ", 0};
    }
}

void mount_image(const ImageKind& kind, const std::string& path, std::uint64_t bytes) {
    const ScratchDirectory holder;
    const std::string image = holder.path() + "/image";
    const UniqueFd file(::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(file);
    const auto size = static_cast<off_t>(std::max(bytes, kind.smallest));
    REQUIRE(::ftruncate(file.get(), size) == 0);
    const std::string format = kind.format + image + " >/dev/null";
    if (std::system(format.c_str()) != 0) SKIP("no mkfs for " << kind.name);
    UniqueFd device;
    const std::string name = attach(file.get(), device);
    if (::mount(name.c_str(), path.c_str(), kind.name, 0, nullptr) != 0) {
        SKIP("the kernel mounts no " << kind.name);
    }
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
    ::rmdir((path + "/lost+found").c_str());
}

}  // namespace

std::string scratch_parent() {
    const char* const chosen = std::getenv("TMPDIR");
    if (chosen != nullptr) return chosen;
    return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

ScratchDirectory::ScratchDirectory() : path_(scratch_parent() + "/plyfs-core.XXXXXX") {
    REQUIRE(::mkdtemp(path_.data()) != nullptr);
    REQUIRE(::chmod(path_.c_str(), 0755) == 0);
}

ScratchDirectory::~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

ScratchFileSystem::ScratchFileSystem(FileSystemKind kind, std::uint64_t bytes) {
    if (::geteuid() != 0 || !enter_own_namespace()) SKIP("no right to mount");
    if (kind != FileSystemKind::Tmpfs) {
        mount_image(image_kind(kind), path(), bytes);
        return;
    }
    const std::string options = "mode=755,nr_inodes=2000,size=" + std::to_string(bytes);
    REQUIRE(::mount("tmpfs", path().c_str(), "tmpfs", 0, options.c_str()) == 0);
}

ScratchFileSystem::~ScratchFileSystem() {
    ::umount2(path().c_str(), MNT_DETACH);
}

void ScratchFileSystem::fill(std::uint64_t left) const {
    const std::string ballast = path() + "/ballast";
    const UniqueFd file(::open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(file);
    struct statfs status{};
    REQUIRE(::fstatfs(file.get(), &status) == 0);
    const auto available =
        static_cast<std::uint64_t>(status.f_bavail) * static_cast<std::uint64_t>(status.f_bsize);
    if (available > left) {
        (void)::posix_fallocate(file.get(), 0, static_cast<off_t>(available - left));
    }
    if (left != 0) return;
    const std::vector<char> block(4096);
    while (::lseek(file.get(), 0, SEEK_END) >= 0 &&
           ::write(file.get(), block.data(), block.size()) > 0) {
    }
}

}  // namespace plyfs::test
