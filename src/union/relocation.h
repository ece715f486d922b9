// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finding directories again whose recorded paths are out of date, because their ancestors were
// renamed while the plan was in flight: by file handle, and where there are none by what other
// plans in flight at the same time renamed. Used by one thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sys/result.h"
#include "sys/unique_fd.h"
#include "union/plan.h"

namespace plyfs {

class Relocation {
public:
    // Takes note of what the plan renames, one way and the other. `branches[i]` is what the
    // plan's branch number i is called in find().
    void learn(const Plan& plan, const std::vector<std::size_t>& branches);

    // The parent directory of a place of the branch, O_PATH; only the very directory that
    // the record meant. An empty UniqueFd: it is not there any more.
    // Other errnos than "not there": of openat2 and statx.
    Result<UniqueFd> find(std::size_t branch, int root, const Place& place) const;

private:
    struct Shift {
        std::size_t branch;
        std::string from;
        std::string to;
    };

    std::vector<Shift> shifts_;
};

}  // namespace plyfs
