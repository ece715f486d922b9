// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/backing_registrar.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "sys/credentials.h"
#include "sys/open.h"

namespace plyfs::session {
namespace {

// From <linux/fuse.h> since 6.9; older headers lack them.
struct BackingMap {
    std::int32_t descriptor;
    std::uint32_t flags;
    std::uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);

// FUSE_BACKING_ATTACH_READ of kernel/patches: docs/kernel-open.md.
constexpr std::uint32_t kAttachForReading = 1U << 16;

// Likewise: docs/kernel-rebind.md.
struct BackingRebind {
    std::uint32_t id;
    std::int32_t descriptor;
    std::uint32_t flags;
    std::uint32_t padding;
};
constexpr unsigned long kBackingRebind = _IOW(229, 32, BackingRebind);

const char* reason(Errno error) {
    switch (error.code()) {
        case EPERM: return "no CAP_SYS_ADMIN in the initial user namespace";
        case ELOOP: return "the branch's file system is itself stacked (max_stack_depth)";
        case EOPNOTSUPP: return "the branch's file system can't be passed through";
        case EMFILE:
        case ENFILE: return "too many open files";
        default: return "refused by the kernel";
    }
}

}  // namespace

Result<passthrough::BackingId> BackingRegistrar::open_backing(int descriptor,
                                                              passthrough::BackingUse use) {
    BackingMap map{descriptor, 0, 0};
    // The kernel keeps the open file that it is given: one for reading keeps nobody from running
    // the branch's file (ETXTBSY).
    UniqueFd reading;
    if (use == passthrough::BackingUse::Lasting) {
        reading = TRY(sys::reopen(descriptor, O_RDONLY));
        map.descriptor = reading.get();
    } else if (use == passthrough::BackingUse::Attached) {
        map.flags = kAttachForReading;
    }
    // I/O through a backing runs with the rights of who registered it: with root's, a user's write
    // would keep SUID and use up the reserved blocks.
    const sys::ActAsNobody nobody;
    const int id = ::ioctl(device_, kBackingOpen, &map);
    if (id <= 0) return fail(Errno::last());
    return id;
}

std::uint32_t BackingRegistrar::close_backing(passthrough::BackingId id) {
    const auto number = static_cast<std::uint32_t>(id);
    return static_cast<std::uint32_t>(std::max(::ioctl(device_, kBackingClose, &number), 0));
}

Result<void> BackingRegistrar::rebind_backing(passthrough::BackingId id, int descriptor) {
    const UniqueFd reading = TRY(sys::reopen(descriptor, O_RDONLY));
    const BackingRebind rebind{static_cast<std::uint32_t>(id), reading.get(), 0, 0};
    const sys::ActAsNobody nobody;
    if (::ioctl(device_, kBackingRebind, &rebind) != 0) return fail(Errno::last());
    return {};
}

void report_refusal(Errno error) {
    static std::array<std::atomic_flag, 256> said;
    const auto index = static_cast<std::size_t>(error.code()) % said.size();
    if (said[index].test_and_set()) return;
    spdlog::warn("passthrough refused: {} ({}); such files go through plyfs", reason(error),
                 error.message());
}

}  // namespace plyfs::session
