// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which branches an operation goes to. Pure functions over facts that the caller has gathered:
// no system calls, nothing kept, thread-safe as long as each thread brings its own RandomSource.
//
// The policies and their filters are those of mergerfs. Three differences, all meant:
// - Where two branches rank alike, the first in precedence wins (mergerfs: the last).
// - When no branch is left, the errno is the one that helps most: ENOSPC before EROFS before
//   ENOENT (mergerfs: EROFS before ENOSPC), and under the path preserving policies a branch that
//   lacks the path never counts as read-only or full.
// - pfrd over branches without a byte available takes them in order of precedence and lets the
//   file system refuse; mergerfs fails with whatever errno it noted last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "config/options.h"
#include "sys/attributes.h"
#include "sys/result.h"
#include "union/random_source.h"

namespace plyfs {

// What a policy knows of one branch. A branch that can't be asked (EIO, a dead server) is left out
// of the facts by the caller. Facts are given in order of precedence.
struct BranchFacts {
    std::size_t branch = 0;  // its index in the BranchSet: what the functions below return
    config::BranchMode mode = config::BranchMode::ReadWrite;
    // The object is on this branch; for choose_create: the parent directory of the new one is.
    bool exists = false;
    bool file_system_read_only = false;
    std::uint64_t available = 0;       // bytes that a user without privileges may still write
    std::uint64_t min_free_space = 0;  // bytes; below this nothing new is created here
    Timestamp modification_time;       // of what `exists` speaks of; read by `newest` only
};

// Indexes into the BranchSet.
using BranchList = std::vector<std::size_t>;

// `targets`, never empty, are all to get the new object: several under `all` and `epall`, else
// one. `fallbacks` are the other eligible branches, best first: where to go, one at a time, when
// the only target answers ENOSPC, EDQUOT or EROFS. Empty when there are several targets.
struct CreateChoice {
    BranchList targets;
    BranchList fallbacks;
};

// Where to create. Read-only and no-create branches, read-only file systems and branches with less
// than their minimum free space are never chosen; ff, mfs, lfs, rand, pfrd and all may choose a
// branch that lacks the parent directory (the caller makes it there), epff, epmfs, eprand, epall
// and newest don't and do not fall back to such a branch.
// A regular file is opened as it is created, and only one can be: for Function::Create, `all` and
// `epall` have one target, the first eligible branch, with the others as fallbacks.
// ENOSPC: an eligible branch but for its free space exists. EROFS: the same, but for being
// read-only or no-create. ENOENT: no branch was given or, where the parent must exist, none has it.
Result<CreateChoice> choose_create(config::Policy policy, config::Function function,
                                   std::span<const BranchFacts> facts, RandomSource& random);

// All branches whose copy of the object is to be changed, in order of precedence: several under
// `all` and `epall`, which mean the same here, else one. Never a branch without the object, a
// read-only branch or a read-only file system; space does not count.
// EROFS: the object is only where nothing may change. ENOENT: it is nowhere.
Result<BranchList> choose_action(config::Policy policy, std::span<const BranchFacts> facts,
                                 RandomSource& random);

// The branches that have the object, the one to be used first. Nothing is filtered. `all` and
// `epall` are `ff` here. ENOENT: it is nowhere.
Result<BranchList> choose_search(config::Policy policy, std::span<const BranchFacts> facts,
                                 RandomSource& random);

// The policy set for `function` itself or else for its category.
config::Policy policy_for(const config::PolicyOptions& options, config::Function function);

}  // namespace plyfs
