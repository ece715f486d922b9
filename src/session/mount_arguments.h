// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options that libfuse is given to mount with. Owns them.
#pragma once

#include <fuse_opt.h>

#include "config/options.h"

namespace plyfs::session {

class MountArguments {
public:
    explicit MountArguments(const config::Options& options);
    ~MountArguments() { fuse_opt_free_args(&arguments_); }
    MountArguments(const MountArguments&) = delete;
    MountArguments& operator=(const MountArguments&) = delete;

    fuse_args* get() noexcept { return &arguments_; }

private:
    fuse_args arguments_{};
};

}  // namespace plyfs::session
