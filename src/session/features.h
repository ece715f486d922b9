// SPDX-License-Identifier: GPL-2.0-or-later
//
// What plyfs asks of the kernel when INIT is answered, and what it got.
#pragma once

#include <fuse_lowlevel.h>

#include <cstdint>
#include <string>
#include <vector>

namespace plyfs::session {

// What the kernel agreed to.
struct NegotiatedKernel {
    unsigned major = 0;  // of the FUSE protocol
    unsigned minor = 0;
    std::uint64_t capabilities = 0;  // FUSE_CAP_* that are in force
    std::uint64_t further = 0;       // those of further_init_flags() that are
};

struct NegotiatedFeature {
    const char* name;  // as --version has it
    bool in_force;
};

// Those that plyfs would have, if it got them or not.
std::vector<NegotiatedFeature> negotiated_features(const NegotiatedKernel& kernel);

// The operation `init`: chooses among what the kernel offers.
void negotiate(void* context, fuse_conn_info* connection);

// Flags of FUSE_INIT that libfuse has no names for, as in the kernel's protocol: added to what it
// answers where the kernel offers them.
std::uint64_t further_init_flags() noexcept;

// What of them the kernel offered, and so agreed to. Before requests are served.
void further_agreed(void* context, std::uint64_t flags);

// This build's libfuse and what the running kernel's FUSE offers, for `plyfs --version`. Asking
// takes root; without, the text says so.
std::string describe_features();

}  // namespace plyfs::session
