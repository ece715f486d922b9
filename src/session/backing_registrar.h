// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registers backings with the kernel by ioctl on the FUSE device (FUSE_DEV_IOC_BACKING_OPEN).
#pragma once

#include "passthrough/open_files.h"

namespace plyfs::session {

class BackingRegistrar final : public passthrough::Registrar {
public:
    // The descriptor of the mount's device, borrowed. Before the first open_backing().
    void set_device(int device) noexcept { device_ = device; }

    Result<passthrough::BackingId> open_backing(int descriptor,
                                                passthrough::BackingUse use) override;
    std::uint32_t close_backing(passthrough::BackingId id) override;
    Result<void> rebind_backing(passthrough::BackingId id, int descriptor) override;

private:
    int device_ = -1;
};

// Logs why a backing was refused, once for each reason.
void report_refusal(Errno error);

}  // namespace plyfs::session
