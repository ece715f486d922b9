// SPDX-License-Identifier: GPL-2.0-or-later
//
// At mount, before anything is served: completes what daemons that died left in the middle, then
// sweeps their work directories. Being killed during recovery is fine: the next one begins where
// this one stopped. And its counterpart at unmount.
//
// Not thread-safe; other daemons may be serving or recovering the same branches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "union/plan.h"

namespace plyfs {

struct RecoveryReport {
    std::uint64_t completed = 0;  // plans rolled forward (or found complete)
    std::uint64_t undone = 0;     // plans taken back
    std::uint64_t left = 0;       // records left alone: a branch is missing, or neither way worked
    std::uint64_t damaged = 0;    // records that can't be read, renamed to *.damaged
    std::uint64_t swept = 0;      // objects removed from work directories
    std::vector<std::string> warnings;  // one line each
};

// For all branches of a mount together, in their order; read-only ones have no work directory and
// are passed over. Never fails: what can't be done is a warning.
RecoveryReport recover(std::span<const PlanBranch> branches);

// At unmount: takes the work directories away that nobody needs any more. Where one branch keeps a
// record of this mount (a plan that could be neither done nor undone), all keep what the mount put
// there. True: no branch has a work directory.
bool tidy(std::span<const PlanBranch> branches);
// When another process goes on with the mount: takes away only what this one put there.
void leave(std::span<const PlanBranch> branches);

}  // namespace plyfs
