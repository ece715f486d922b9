// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/credentials.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

namespace plyfs::sys {
namespace {

constexpr uid_t kNobody = 65534;

// capset(2) of the calling thread; libcap-ng would change what it thinks of the whole process.
bool change_effective(std::uint32_t capability, bool on) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
    const std::uint32_t bit = CAP_TO_MASK(capability);
    auto& word = data[CAP_TO_INDEX(capability)];
    if ((word.permitted & bit) == 0) return false;
    if (((word.effective & bit) != 0) == on) return false;
    word.effective = on ? word.effective | bit : word.effective & ~bit;
    return ::syscall(SYS_capset, &header, data.data()) == 0;
}

}  // namespace

uid_t effective_user() {
    return ::geteuid();
}

Result<void> prepare_serving_thread() {
    if (::unshare(CLONE_FS) != 0) return fail(Errno::last());
    ::umask(0);
    if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0 && errno != EPERM) {
        return fail(Errno::last());
    }
    change_effective(CAP_FSETID, false);
    change_effective(CAP_SYS_RESOURCE, false);
    return {};
}

ActAs::ActAs(const Caller& caller) {
    if (caller.umask != 0) {
        ::umask(caller.umask);
        changed_umask_ = true;
    }
    if (::geteuid() != 0) return;
    if (caller.supplementary_group) {
        const gid_t group = *caller.supplementary_group;
        changed_groups_ = ::syscall(SYS_setgroups, 1, &group) == 0;
    }
    if (caller.uid != 0 || caller.gid != 0) {
        ::syscall(SYS_setfsgid, caller.gid);
        ::syscall(SYS_setfsuid, caller.uid);
        changed_ids_ = true;
    }
}

ActAs::~ActAs() {
    if (changed_ids_) {
        ::syscall(SYS_setfsuid, 0);
        ::syscall(SYS_setfsgid, 0);
    }
    if (changed_groups_) ::syscall(SYS_setgroups, 0, nullptr);
    if (changed_umask_) ::umask(0);
}

KeepSetId::KeepSetId(bool wanted) : raised_(wanted && change_effective(CAP_FSETID, true)) {}

KeepSetId::~KeepSetId() {
    if (raised_) change_effective(CAP_FSETID, false);
}

ActAsNobody::ActAsNobody() {
    ::syscall(SYS_setfsuid, kNobody);
}

ActAsNobody::~ActAsNobody() {
    ::syscall(SYS_setfsuid, ::geteuid());
}

}  // namespace plyfs::sys
