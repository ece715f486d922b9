// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the running kernel's FUSE offers, asked of the kernel itself: a mount in a private mount
// namespace, whose FUSE_INIT is read and never answered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sys/result.h"

namespace plyfs::session {

struct KernelOffer {
    std::uint32_t major = 0;  // of the FUSE protocol
    std::uint32_t minor = 0;
    std::uint64_t flags = 0;  // FUSE_INIT flags, both words
};

// Works in a child process; the caller's namespaces stay as they are.
// EPERM, EACCES: not root, or no /dev/fuse. ENOENT, ENODEV: the kernel has no FUSE.
Result<KernelOffer> probe_kernel();

// The names of those flags that plyfs uses, offered or not: `passthrough`, `no create-supp-group`.
std::vector<std::string> feature_names(const KernelOffer& offer);

}  // namespace plyfs::session
