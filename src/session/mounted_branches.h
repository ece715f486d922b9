// SPDX-License-Identifier: GPL-2.0-or-later
//
// The branches of a mount before the first request and after the last.
//
// Not thread-safe.
#pragma once

#include <expected>

#include "config/options.h"
#include "session/session.h"
#include "union/branch.h"

namespace plyfs::session {

std::expected<BranchSet, SessionError> open_branches(const config::Options& options);

// Before writable branches are written: they may be, what daemons that died left in the middle is
// completed, marks can be made in the form that was asked for, and volatile branches are marked so.
std::expected<void, SessionError> prepare_branches(const config::Options& options,
                                                   const BranchSet& branches);

// After the unmount: volatile branches were not left by a crash.
void unmark_branches(const config::Options& options, const BranchSet& branches);
// Then, too: takes away what the mount alone needed on them.
void release_branches(const BranchSet& branches);
// When another process goes on with them: what this one alone needed.
void leave_branches(const BranchSet& branches);

}  // namespace plyfs::session
