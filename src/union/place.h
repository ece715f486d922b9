// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the steps of a plan are made of: looking whether an object is at a place, and moving it
// between places and graves. A directory descriptor of -1 is a directory that is not there.
#pragma once

#include <cstdint>
#include <string>

#include "union/plan.h"

namespace plyfs {

// Where a step's victim goes.
struct Grave {
    int directory = -1;  // a work directory on the step's branch, borrowed; -1: there is none
    std::string name{};
};

enum class Found : std::uint8_t { Nothing, Same, Other };

Result<Found> look(const Place& place, const Identity& identity);
Result<Found> look(const Grave& grave, const Identity& identity);

// renameat2(2) with these flags. ENOENT: one of the directories is not there.
Result<void> rename_place(const Place& from, const Place& to, unsigned flags);

// EINVAL: the file system can't, or one is a directory above the other.
Result<void> exchange(const Place& from, const Place& to);

// EEXIST: something is at `to`. Where the file system has no RENAME_NOREPLACE it is looked for
// first: other verbs of the union are kept out by the caller's locks.
Result<void> move_to(const Place& from, const Place& to);

// EXDEV: there is no grave on this mount.
Result<void> entomb(const Place& place, const Grave& grave);

// Puts back what is in the grave, if it is.
Result<void> exhume(const Grave& grave, const Identity& identity, const Place& place);

Result<void> remove_object(const Place& place, bool is_directory);
Result<void> remove_object(const Grave& grave, bool is_directory);

// ENOTEMPTY: the directory of that name holds something.
Result<void> refuse_unless_empty(int parent, const std::string& name);

// The system call alone, for a plan of one step. ESTALE, ENOTEMPTY: as in execute().
Result<void> run_alone(const Step& step);

// The removals of a plan without record or graves, last step first. EINVAL: it does not only
// remove.
Result<void> remove_without_record(const Plan& plan);

}  // namespace plyfs
