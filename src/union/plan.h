// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a verb does that touches more than one branch: an ordered list of steps that happens as a
// whole or not at all, also when the daemon dies in the middle.
//
// A plan of several steps is written down before the first of them (an intent record, fsynced, in
// the work directory of the first of its branches that takes one) and the record is removed after
// the last. A step knows the object it acts on by identity, so that it can be looked up whether
// it has been done: recovery (recovery.h) rolls forward what it finds, or undoes it.
//
// What a step removes is first renamed into the work directory (its grave), so that it can be put
// back; graves of files are emptied when the record is gone, graves of directories just before,
// because somebody may have put something into one meanwhile, and then all is undone.
//
// A Plan is a value, used by one thread. execute() may run in many threads at once as long as no
// two running plans name the same place: callers hold the locks of the parent nodes.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sys/attributes.h"
#include "sys/result.h"
#include "union/journal.h"
#include "union/work_directory.h"

namespace plyfs {

// An object of a branch, across remounts: no device number in it. `birth` is zero where the file
// system keeps none.
struct Identity {
    std::uint64_t inode = 0;
    Timestamp birth;

    static Identity of(const Attributes& attributes) noexcept {
        return {attributes.real.inode, attributes.real.birth};
    }
    static Identity of(const RealId& real) noexcept { return {real.inode, real.birth}; }
    friend bool operator==(const Identity&, const Identity&) = default;
};

// A name in a directory of a branch.
struct Place {
    // The directory (O_PATH will do), borrowed: open until execute() returns. Used by the live
    // run, so that a rename of an ancestor meanwhile does not matter.
    int directory = -1;
    // Its path from the branch's root, components joined by '/', empty for the root itself, or
    // kWorkPlace: how recovery finds it again.
    std::string parent{};
    std::string name{};
    // Of the directory, filled in by execute(): recovery takes no other one for it, and finds it by
    // its handle (sys/file_handle.h; empty where the file system has none) when it was moved.
    Identity parent_identity{};
    std::string parent_handle{};
};

// Renames the object.
struct Move {
    enum class Mode : std::uint8_t {
        NoReplace,  // nothing stands at `to`: EEXIST otherwise
        Exchange,   // what stands at `to` gets the name `from`: EINVAL where the branch's file
                    // system can't
    };
    std::size_t branch = 0;
    Place from{};
    Place to{};
    Identity identity{};  // of what is at `from`
    Mode mode = Mode::NoReplace;
};

// Renames the object onto another one, which is buried: exchange, then burial from `from`. Where
// the file system has no RENAME_EXCHANGE the victim is buried first, and `to` is missing for a
// moment.
struct Replace {
    std::size_t branch = 0;
    Place from{};
    Place to{};
    Identity identity{};  // of what is at `from`
    Identity victim{};    // of what is at `to`
    bool victim_is_directory = false;
};

// Removes the object; a directory must be empty: ENOTEMPTY.
struct Bury {
    std::size_t branch = 0;
    Place place{};
    Identity identity{};
    bool is_directory = false;
};

using Step = std::variant<Move, Replace, Bury>;

// One branch as plans see it. A step's `branch` is the index in the span of these.
struct PlanBranch {
    int root = -1;                  // borrowed
    WorkDirectory* work = nullptr;  // borrowed; null: the branch is read-only, no step may name it
    std::string_view path{};        // for messages only, borrowed; may be empty
};

struct PlanContext {
    std::span<const PlanBranch> branches;
    Journal& journal;
    // Told, in one line of text, of what could not be put in order and waits for recovery. May be
    // empty. Called from the thread that executes.
    std::function<void(std::string_view)> warn;
};

using Plan = std::vector<Step>;

// Does all of it or nothing. One step needs no record and is the plain system call (renameat2,
// unlinkat). Returns when the touched directories are on disk (fsync), except for one step.
//
// ESTALE: something else than the object of a step stands at its place: the caller's idea of the
// branch is out of date. A Bury whose place is empty counts as done. ENOTEMPTY: a directory to be
// removed holds something. EROFS: no branch of the plan takes the record. Otherwise the errno of
// the step that failed. A plan that only removes goes on without a record where none can be
// written for want of space: last step first, so that what shadows the others goes last.
//
// Where a step meets a mount boundary below the branch (EXDEV), what it removes is unlinked in
// place, after everything that can be undone has been done; were several of these to fail halfway,
// the first ones stay removed. An EXDEV of a Move or a Replace itself is returned.
Result<void> execute(const Plan& plan, const PlanContext& context);

}  // namespace plyfs
