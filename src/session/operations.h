// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of every operation that is served.
#pragma once

#include <fuse_lowlevel.h>

#include "config/options.h"

namespace plyfs::session {

fuse_lowlevel_ops operations(const config::Options& options);

}  // namespace plyfs::session
